"""Small numpy idioms that the solver's modules share, and the keys that identify rows."""

from collections.abc import Iterable
from hashlib import blake2b
from itertools import combinations, pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from berth.solve.model import Bool, Int64, UInt64

Array = npt.NDArray[Any]
Table = npt.NDArray[np.signedinteger[Any]]  # shape (rows, w): the numbers of each row, -1 for none
# Fixed odd numbers: a sum of their multiples is a hash of a row of small integers.
SALT = np.random.default_rng(12345).integers(1, 2**62, 8192, dtype=np.uint64) | np.uint64(1)


def keys(names: Iterable[str]) -> UInt64:
    """The key of each name, the same in every process: BLAKE2b of its UTF-8 form, 8 bytes as uint64.

    Of Pools with a million names, one in 37 million has two names with the same key. Its plan is
    still valid; it may only depend on the order of these two rows.
    """
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def mixed(key: UInt64) -> UInt64:
    """Keys with their bits mixed (splitmix64), so that similar keys get unrelated lots."""
    x = key.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(29)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(x ^ (x >> np.uint64(32)), np.uint64)


def sums(group: Array, size: int, of: Array | None = None) -> Int64:
    """Shape (size,): the sum of `of` in each group, or without `of` the number of elements."""
    return np.bincount(group, of, size).astype(np.int64)


def entries(table: Table, size: int) -> Int64:
    """Shape (size,): how often each number occurs in the table, which may have any shape."""
    # Shifting by one avoids a mask for -1: masking 300,000 entries costs more than counting them.
    return sums(table.ravel() + 1, size + 1)[1:]


def rank_within(group: Array) -> Int64:
    """The rank of each element within its group, from 0; the elements of a group must be adjacent."""
    edges = np.ones(len(group) + 1, np.bool_)
    np.not_equal(group[1:], group[:-1], out=edges[1:-1])
    edge = np.flatnonzero(edges)
    return np.arange(len(group)) - np.repeat(edge[:-1], edge[1:] - edge[:-1])


def ordered(*by: Array) -> Int64:
    """The order of np.lexsort(by), the last key first, for integers."""
    if len(by[0]) <= 1_500:  # with more rows it is far quicker to pack the keys into one number
        return np.lexsort(by)
    edges = [(int(column.min()), int(column.max())) for column in by]
    bits = (prod(high - low + 1 for low, high in edges) - 1).bit_length()
    if bits > 64:
        return np.lexsort(by)
    small: Any = np.uint16 if bits <= 16 else np.uint32 if bits <= 32 else np.uint64
    key: Array = np.zeros(1, small)
    for column, (low, high) in zip(by[::-1], edges[::-1], strict=True):
        key = key + key * small(high - low) + (column - low).astype(small)
    # numpy has a radix sort for 16 bits.
    order = np.argsort(key.astype(np.uint16), kind="stable")
    for shift in range(16, bits, 16):
        order = order[np.argsort((key >> small(shift)).astype(np.uint16)[order], kind="stable")]
    return order


def firsts(values: Array) -> Bool:
    """Which elements are the first of their value, for small numbers."""
    number, seen = np.arange(len(values)), np.zeros(int(values.max(initial=0)) + 1, np.int64)
    seen[values[::-1]] = number[::-1]  # of elements with one index, numpy writes the last
    return np.asarray(seen[values] == number)


def numbered(values: Array, size: int) -> tuple[Int64, Int64]:
    """The distinct values, sorted, and the place of each element among them, for values below `size`."""
    has = np.zeros(size, np.bool_)
    has[values] = True
    return np.flatnonzero(has), (np.cumsum(has) - 1)[values]


def first_few(group: Array, few: Int64, *by: Array) -> Int64:
    """The first `few[g]` elements of each group g in the order of `by`, its last key first (`ordered`)."""
    few = np.minimum(np.maximum(few, 0), size := sums(group, len(few)))
    gap = np.cumsum(size - few) - (size - few)  # how many are left out before each group
    return np.asarray(ordered(*by, group)[np.arange(int(few.sum())) + np.repeat(gap, few)])


def alike(*columns: Array) -> tuple[Int64, Int64]:
    """Group rows that are equal in all columns, and sort the groups by them, the first column first.

    Returns the first row of each group, and the group of each row.
    """
    key = np.zeros(len(columns[0]), np.uint64)
    for number, column in enumerate(columns):
        key += np.asarray(column).astype(np.uint64) * SALT[(4096 + number) % len(SALT)]
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    order = ordered(*(column[first] for column in reversed(columns)))
    return first[order], np.argsort(order)[group]


def entries_on(chosen: Bool, table: Table) -> tuple[Int64, Table]:
    """The entries of the table that are chosen numbers: (row, number); the last of `chosen` stands for -1."""
    few, by_column = np.flatnonzero(chosen), table.strides[0] < table.strides[1]
    flat = (table.T if by_column else table).ravel()  # in the order of memory, so it is rarely a copy
    if len(few) <= 4 and not chosen[-1]:  # a few comparisons are far quicker than lookups
        spots = np.concatenate([np.flatnonzero(flat == one) for one in few.tolist()] or [few])
    else:  # numbers are shifted by one, because lookups of -1 among others are slow
        spots = np.flatnonzero(np.roll(chosen, 1).take(flat + 1, mode="wrap"))
    return spots % len(table) if by_column else spots // table.shape[1], flat[spots]


def twice(table: Table) -> Bool:
    """Which rows of the table contain some number twice."""
    out, wide = np.zeros(len(table), np.bool_), table.shape[1] > 8
    for one, two in pairwise(np.sort(table, axis=1).T) if wide else combinations(table.T, 2):
        out |= (one == two) & (one >= 0)
    return out


def crosstab(row: Array, column: Array, rows: int, columns: int, of: Array | None = None) -> Int64:
    """Shape (rows, columns): the sum of `of` over each pair of a row and a column, or how often it occurs."""
    return sums((row * columns + column).ravel(), rows * columns, of).reshape(rows, columns)


def tally(table: Table, of: Int64, size: int) -> Int64:
    """Shape (rows, size), stored column by column: how many entries of each row map to each number.

    `of` maps the values in the table to numbers; its last element stands for -1 and is `size`.
    """
    counts = crosstab(np.arange(len(table))[:, None], of[table], len(table), size + 1)
    return np.asfortranarray(counts[:, :size])


def scattered(shape: int | tuple[int, ...], index: Any, values: Any, empty: int = -1) -> Int64:
    """An array with these values at an index (or a tuple of indices), and `empty` everywhere else."""
    out = np.full(shape, empty, np.int64)
    out[index] = values
    return out


def mapped(table: Table, to: Int64) -> Table:
    """The numbers in a table as `to` maps them, which need not have an element for -1."""
    starts = np.flatnonzero(jumps := np.diff(to - np.arange(len(to)), prepend=0))
    if len(starts) > 8:  # `to` shifts long runs of numbers alike, and few shifts are far quicker than lookups
        return np.append(to, -1).astype(table.dtype).take(table, mode="wrap")
    out = table
    for start in starts.tolist():
        out = out + (table >= start) * table.dtype.type(jumps[start])
    return out


def widened(table: Table, width: int) -> Any:
    """The table with at least `width` columns."""
    more = width - table.shape[1]
    return table if more <= 0 else np.pad(table, ((0, 0), (0, more)), constant_values=-1)
