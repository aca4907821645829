"""Stable keys for workers and tasks, which are only hashable: they have no order and no names."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b


def stable_key(value: object, taken: Callable[[int], bool]) -> int:
    """A 64-bit key that is not `taken`, the same in every process for the same repr.

    The key only breaks ties in the solver. Values whose repr contains an address get another key in another
    process, and then perhaps another of several equally good plans. Of unequal values with one repr, the
    first gets the first key.
    """
    try:
        text = repr(value)
    except Exception:  # a tie-break must not fail because of a value
        text = ""
    kind = type(value)
    seed = f"{kind.__module__}.{kind.__qualname__}:{text}".encode("utf-8", "backslashreplace")
    attempt = 0
    while True:
        key = int.from_bytes(blake2b(seed, digest_size=8, salt=attempt.to_bytes(16, "big")).digest(), "big")
        if not taken(key):
            return key
        attempt += 1
