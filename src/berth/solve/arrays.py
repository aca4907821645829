"""Small idioms of numpy that the solver's modules share."""

from __future__ import annotations

import numpy as np

from berth.solve.model import Int64

SALT = np.random.default_rng(12345).integers(1, 2**62, 8192, dtype=np.uint64) | np.uint64(1)
"""Fixed odd numbers; sums of their multiples tell rows of small integers apart."""


def ranks_within(group: Int64) -> Int64:
    """The rank of each element within its group, from 0; equal groups must stand together."""
    size = len(group)
    if not size:
        return np.zeros(0, np.int64)
    start = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    return np.arange(size) - np.repeat(start, np.diff(np.r_[start, size]))


def alike(*columns: Int64) -> tuple[Int64, Int64]:
    """Rows that are equal in all columns: the first row of each group, and the group of each row."""
    key = np.zeros(len(columns[0]), np.uint64)
    for number, column in enumerate(columns):
        key += np.asarray(column).astype(np.uint64) * SALT[4096 + number]
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return first, group
