"""Break up sets of Items that share all their Members.

Dealing leaves neighbours with the same Members, so that a lost Member's load would fall on two or
three others. Exchanging two new entries of one zone between two Items changes no level: loads,
zones and moves stay as they are.
"""

from __future__ import annotations

import numpy as np

from berth.solve.index import mix
from berth.solve.problem import Bool, Int32, UInt64

PASSES = 3


def scatter(members: Int32, new: Bool, zone: Int32, keys: UInt64) -> Int32:
    """`members` (k, v) with entries marked `new` exchanged at random, by keys; `zone` has shape (m,)."""
    members = members.copy()
    half = len(members) // 2
    if half < 2:
        return members
    order = np.argsort(mix(keys, 11), kind="stable")
    left, right = order[:half], order[half : 2 * half]
    for turn in range(PASSES):
        for column in range(members.shape[1]):
            shift = int(mix(np.array([turn * 64 + column]), 13)[0] % np.uint64(half))
            other = np.roll(right, shift)
            mine, theirs = members[left, column], members[other, column]
            swap = new[left, column] & new[other, column] & (mine != theirs)
            swap &= zone[mine] == zone[theirs]
            for place in range(members.shape[1]):
                swap &= (members[left, place] != theirs) & (members[other, place] != mine)
            members[left[swap], column] = theirs[swap]
            members[other[swap], column] = mine[swap]
        # Other pairs next time: the halves themselves must mix, too.
        quarter = half // 2
        left, right = (
            np.concatenate([left[:quarter], right[:quarter]]),
            np.concatenate([left[quarter:], right[quarter:]])[: len(left[:quarter]) + len(right[:quarter])],
        )
        half = min(len(left), len(right))
        left, right = left[:half], right[:half]
    return members
