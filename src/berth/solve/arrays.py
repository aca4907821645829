"""Small idioms of numpy that the solver's modules share, and the keys that rows go by."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from berth.solve.model import Bool, Int64, UInt64

SALT = np.random.default_rng(12345).integers(1, 2**62, 8192, dtype=np.uint64) | np.uint64(1)
"""Fixed odd numbers; sums of their multiples tell rows of small integers apart."""


def keys(names: Iterable[str]) -> UInt64:
    """The key of each name, the same in every process: BLAKE2b of its UTF-8 form, 8 bytes as uint64.

    With a million names two share a key once in 37 million Pools; rows with equal keys still get
    a valid plan, only its independence of their order is lost.
    """
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def mixed(key: UInt64) -> UInt64:
    """Keys with their bits mixed (splitmix64): what looks alike in keys must not in lots."""
    x = key.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(29)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(x ^ (x >> np.uint64(32)), np.uint64)


def rank_within(group: npt.NDArray[Any]) -> Int64:
    """The rank of each element within its group, from 0; equal groups must stand together."""
    size = len(group)
    if not size:
        return np.zeros(0, np.int64)
    start = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    return np.arange(size) - np.repeat(start, np.diff(np.r_[start, size]))


def alike(*columns: npt.NDArray[Any], sort: bool = False) -> tuple[Int64, Int64]:
    """Rows that are equal in all columns: the first row of each group, and the group of each row.

    With `sort` groups are in the order of their columns, the first column deciding first.
    """
    key = np.zeros(len(columns[0]), np.uint64)
    for number, column in enumerate(columns):
        key += np.asarray(column).astype(np.uint64) * SALT[4096 + number]
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    if sort:
        order = np.lexsort([column[first] for column in reversed(columns)])
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        first, group = first[order], rank[group]
    return first, group


def names_one(chosen: Bool, table: npt.NDArray[np.signedinteger[Any]]) -> Bool:
    """Which rows of the table name a chosen one; -1 names the last of `chosen`."""
    out = np.zeros(len(table), np.bool_)
    for column in range(table.shape[1]):
        out |= chosen[table[:, column]]
    return out


def tally(table: npt.NDArray[np.signedinteger[Any]], of: Int64, size: int) -> Int64:
    """Shape (rows, size): how many entries of each row fall on each number.

    `of` gives the number of each value in the table; its last element stands for -1 and is `size`.
    """
    out = np.zeros((len(table), size + 1), np.int64)
    number = of[table]
    np.add.at(out, (np.repeat(np.arange(len(table)), table.shape[1]), number.ravel()), 1)
    return out[:, :size]
