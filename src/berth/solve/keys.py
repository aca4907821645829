"""Stable identities: the same name has the same key in every process, whatever its row."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from berth.solve.model import UInt64


def keys(names: Iterable[str]) -> UInt64:
    """The key of each name: BLAKE2b of its UTF-8 form, 8 bytes, as shape (len(names),) of uint64.

    With a million names two share a key once in 37 million Pools; rows with equal keys still get
    a valid plan, only its independence of their order is lost.
    """
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)
