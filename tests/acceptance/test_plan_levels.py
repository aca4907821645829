"""`berth plan` against every possible placement of tiny pools."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from ten_levels import Levels, Tiny, TinyItem, TinyMember, primary_of
from user_objects import assignment, item, member, pool

Doc = dict[str, Any]
Planned = Callable[..., Doc]


def documents(tiny: Tiny) -> list[Doc]:
    """Manifests of a pool; what unknown Members hold is in Assignments of their own."""
    docs = [
        pool(
            tiny.pool,
            zones=tiny.zones,
            balance={"tolerancePercent": tiny.tolerance, "primaries": tiny.primaries},
        )
    ]
    docs += [item(i.name, i.replicas, pool=tiny.pool) for i in tiny.items]
    for m in tiny.members:
        spec = {"pool": tiny.pool, "zone": m.zone, "draining": m.draining}
        if not m.live:
            spec["leaseName"] = m.name
        docs.append(member(m.name, m.limit, created=m.created, live=m.live, **spec))
    for name in sorted({m for _, m, _, _ in tiny.held}):
        entries = sorted(
            f"{i}#{slot}@{min(3, epoch) or 2}" + (f":{epoch}" if slot == 0 else "")
            for i, m, slot, epoch in tiny.held
            if m == name
        )
        docs.append(assignment(name, entries, term=9, pool=tiny.pool))
    return docs


def tiny_pool(seed: int) -> Tiny:
    """A random pool: short, long, dead, draining, drained, skewed, half placed, badly placed."""
    r = random.Random(seed)
    name = f"p{seed}"
    wide = r.random() < 0.3
    zones = r.choice([[""], ["a", "b"], ["a", "b", "c"], ["", "a"], ["a", "a", "a", "b"]])
    stamps = [f"2024-01-0{r.randint(1, 3)}T00:00:00Z" for _ in range(6)]
    limits = r.choice([[0, 1, 2, 3], [1, 2], [2, 4, 8], [10], [1, 10], [3]])
    members = [
        TinyMember(
            f"{name}-m{n}",
            r.choice(limits),
            r.choice(zones),
            live=r.random() > 0.12,
            draining=r.random() < r.choice([0.0, 0.0, 0.4]),
            created=stamps[n],
        )
        for n in range(5 if wide else r.randint(0, 4))
    ]
    top = r.choice([1, 2, 3, 3, 5])
    items = [
        TinyItem(f"{name}-i{n}", r.randint(0, top))
        for n in range(r.randint(2, 3) if wide else r.randint(0, 4))
    ]
    held: list[tuple[str, str, int, int]] = []
    if r.random() < 0.8:
        holders = [m.name for m in members] + [f"{name}-gone"]
        load: dict[str, int] = {}
        for i in [*[x.name for x in items], f"{name}-lost"]:
            chosen = r.sample(holders, min(len(holders), r.choice([0, 1, 2, 2, 3])))
            chosen = [m for m in chosen if load.get(m, 0) < 12]
            slots = list(range(len(chosen)))
            if r.random() < 0.2:
                slots = [s + 1 for s in slots]  # nobody is primary
            elif len(slots) > 1 and holders[-1] not in chosen[:2] and r.random() < 0.15:
                slots[1] = 0  # two claim to be, both of them Members
            for m, s in zip(chosen, slots, strict=True):
                load[m] = load.get(m, 0) + 1
                epoch = 0 if s else r.randint(1, 4) * 2 - (len(held) % 2)
                if s == 0 and any(e == epoch and h[0] == i for h in held for e in [h[3]]):
                    epoch += 1
                held.append((i, m, s, epoch))
    return Tiny(
        name,
        items,
        members,
        held,
        zones=r.choice(["Spread", "Spread", "Require", "Ignore"]),
        tolerance=r.choice([0, 0, 0, 10, 30, 100]),
        primaries=r.choice(["Promotion", "Promotion", "Active"]),
    )


def faults(tiny: Tiny, got: Doc) -> list[str]:
    """Say what in the answer differs from the text."""
    out = []
    wanted = sum(i.replicas for i in tiny.items)
    members = {i: v["members"] for i, v in got["items"].items()}
    if set(members) != {i.name for i in tiny.items}:
        return [f"items {sorted(members)}"]
    if set(got["members"]) != {m.name for m in tiny.members}:
        return [f"members {sorted(got['members'])}"]
    known = {m.name: m for m in tiny.members}
    for i in tiny.items:
        where = members[i.name]
        if len(set(where)) != len(where) or any(not known[m].live or not known[m].limit for m in where):
            return [f"{i.name} on {where}"]
        if got["items"][i.name]["missing"] != i.replicas - len(where):
            out.append(f"{i.name}: missing {got['items'][i.name]['missing']}, on {where}")
        reason = got["items"][i.name]["reason"]
        if (i.replicas > len(where)) and not reason:
            out.append(f"{i.name}: short without a reason")
    placed = sum(map(len, members.values()))
    if got["slots"] != {"wanted": wanted, "placed": placed}:
        out.append(f"slots {got['slots']}, placed {placed}, wanted {wanted}")
    for m in tiny.members:
        count = sum(m.name in w for w in members.values())
        first = sum(w[:1] == [m.name] for w in members.values())
        expected = {"zone": m.zone, "limit": m.limit, "items": count, "primaries": first, "usage": {}}
        if got["members"][m.name] != expected:
            out.append(f"{got['members'][m.name]} is not {expected}")
    before = {(i, m) for i, m, _, _ in tiny.held}
    after = {(i, m) for i, w in members.items() for m in w}
    promote = {(i, w[0]) for i, w in members.items() if w and w[0] != primary_of(tiny, i)}
    for key, expected in ("add", after - before), ("remove", before - after), ("promote", promote):
        listed = [tuple(pair) for pair in got["changes"][key]]
        if len(set(listed)) != len(listed) or set(listed) != expected:
            out.append(f"{key}: {sorted(listed)} is not {sorted(expected)}")
    if tiny.primaries == "Promotion":
        for i in tiny.items:
            p = primary_of(tiny, i.name)
            if p in members[i.name] and known[p].live and members[i.name][0] != p:
                out.append(f"{i.name}: primary taken from {p}")
    levels = Levels(tiny)
    best, reached = levels.best(), levels.given(members)
    if best != reached:
        level = next(n for n in range(10) if best[n] != reached[n])
        out.append(f"level {level + 1}: {reached}, the best is {best}")
    if got["optimal"] is not True:
        out.append("not proven")
    return out


def check(plan: Planned, seeds: range) -> None:
    pools = [tiny_pool(seed) for seed in seeds]
    answer = plan(*[d for tiny in pools for d in documents(tiny)])
    assert set(answer) == {"pools"}
    assert set(answer["pools"]) == {t.pool for t in pools}
    wrong = {t.pool: f for t in pools if (f := faults(t, answer["pools"][t.pool]))}
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in list(wrong.items())[:20]) + f"\n{len(wrong)} pools"


def test_the_plan_is_the_best_of_all_placements_in_all_ten_levels(plan: Planned) -> None:
    check(plan, range(300))


@pytest.mark.deep
@pytest.mark.parametrize("start", range(1000, 21000, 1000))
def test_the_plan_is_the_best_of_all_placements_of_thousands_of_pools(plan: Planned, start: int) -> None:
    check(plan, range(start, start + 1000))
