"""Stable keys of workers and tasks, which need only be hashable: never ordered, never named."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b


def stable_key(value: object, taken: Callable[[int], bool]) -> int:
    """Return a 64-bit key that `taken` does not know, the same in every process for the same repr.

    The key only breaks ties of the solver. Values whose repr holds an address get another key in
    another process, and then perhaps another of several equally good plans. Equal reprs of unequal
    values are told apart by who came first.
    """
    try:
        text = repr(value)
    except Exception:  # a tie-break is no reason to refuse somebody's value
        text = ""
    kind = type(value)
    seed = f"{kind.__module__}.{kind.__qualname__}:{text}".encode("utf-8", "backslashreplace")
    attempt = 0
    while True:
        key = int.from_bytes(blake2b(seed, digest_size=8, salt=attempt.to_bytes(16, "big")).digest(), "big")
        if not taken(key):
            return key
        attempt += 1
