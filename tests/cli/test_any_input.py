"""Whatever `berth plan -f` is given, it answers with a plan or with one line."""

import json
import random
from typing import Any

import pytest
import yaml
from cliobjects import Run, assignment, item, live, member, obj

NINES = "9" * 5000
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 3.5, 10**20, 4097, "", " ", "a", "A b", "-", "2026-01-01"),
    *("\x1b[2J", "\ud800", "x#1@1", "x#0@1:1", "x#0@", "x#-1@1", "x@1=Ready", "List", "9" * 300, "n" * 300),
    *([], {}, [[]], {"a": {}}, ["a", "a"], {"": 0}),
    *("berth.dev/v1", "v1", "@@big", "@@inf", "@@nan", "@@exp", "0001-01-01T00:00:00+10:00"),
]  # fmt: skip
RAW = {"@@big": NINES, "@@inf": ".inf", "@@nan": "NaN", "@@exp": "1e400"}
NOTES = ("berth: skipped ", "berth: left out ", "berth: the input has no objects of berth.dev")


def valid(rng: random.Random) -> list[dict[str, Any]]:
    objects = [
        obj("Pool", "p", {"zones": "Require", "balance": {"tolerancePercent": 5, "primaries": "Active"}})
    ]
    objects += [item(f"i{n}", rng.randint(0, 3), namespace="x") for n in range(rng.randint(0, 4))]
    for n in range(rng.randint(0, 3)):
        more: dict[str, Any] = {"zone": "ab"[n % 2], "creationTimestamp": "2026-01-01T00:00:00Z"}
        if n == 2:
            more |= {"leaseName": "l", "status": live(rng.choice(["True", "False"])), "uid": "u"}
        objects.append(member(f"m{n}", rng.randint(0, 4), **more))
        held = [f"i{i}#{i}@1" if i else f"i{i}#0@1:2" for i in range(rng.randint(0, 3))]
        objects.append(assignment(f"m{n}", *held, status={"session": "s", "items": ["i0@1=Ready"]}))
    objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}})
    return objects


def places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """All (container, key) in a value."""
    keys = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    for key in keys:
        found.append((value, key))
        places(value[key], found)
    return found


def mutate(rng: random.Random, whole: dict[str, Any]) -> None:
    around, key = rng.choice(places(whole, []))
    what = rng.randrange(5)
    if what == 0:
        del around[key]
    elif what == 1 and isinstance(around, dict):
        around[rng.choice(["kind", "items", "spec", "metadata", "status", "x", "", "limit"])] = around.pop(
            key
        )
    elif what == 2 and isinstance(around, list):
        around.insert(key, json.loads(json.dumps(rng.choice(around))))
    elif what == 3:
        other, there = rng.choice(places(whole, []))
        around[key] = json.loads(json.dumps(other[there]))
    else:
        around[key] = json.loads(json.dumps(rng.choice(ODD)))


def scrambled(rng: random.Random, text: str) -> str:
    """The text with characters put in, taken out, doubled."""
    for _ in range(rng.randint(1, 4)):
        at, to = sorted(rng.randint(0, len(text)) for _ in range(2))
        to = min(to, at + 30)
        part = rng.choice(
            ["", text[at:to] * 2, rng.choice("{}[]:,-#&*!|>'\"%@`\t\n\x00\x85\ufeff? "), "&a ", "*a ", "<<: "]
        )
        text = text[:at] + part + text[to:]
    return text


def written(rng: random.Random) -> str:
    whole: dict[str, Any] = {"apiVersion": "v1", "kind": "List", "items": valid(rng)}
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
        if places(whole, []):
            mutate(rng, whole)
    form = rng.randrange(3)
    if form == 0:
        text = json.dumps(whole)
    else:
        items = whole.get("items")
        documents = items if form == 1 and isinstance(items, list) else [whole]
        text = yaml.safe_dump_all(documents, default_flow_style=rng.choice([None, True, False]))
    for sign, raw in RAW.items():
        for quoted in (f'"{sign}"', f"'{sign}'"):
            text = text.replace(quoted, raw)
    return scrambled(rng, text) if rng.random() < 0.3 else text


def check(berth: Run, seed: int) -> int:
    text = written(random.Random(seed))
    answer = berth("plan", "-o", "json", "-f", "-", stdin=text)
    lines = [line for line in answer.err.splitlines() if not line.startswith(NOTES)]
    assert answer.code in (0, 2), (seed, answer)
    assert len(lines) == (answer.code == 2), (seed, answer)
    assert all(line.isprintable() and len(line) < 1000 for line in lines), (seed, answer)
    if answer.code == 0:
        assert set(answer.json) == {"pools"}
    else:
        assert answer.out == ""
    return answer.code


def test_any_input_gives_a_plan_or_one_line(berth: Run) -> None:
    codes = [check(berth, seed) for seed in range(200)]
    assert 20 < codes.count(0) < 180, "both ways are tried"


@pytest.mark.deep
def test_any_input_gives_a_plan_or_one_line_in_thousands_of_cases(berth: Run) -> None:
    for seed in range(1000, 6000):
        check(berth, seed)
