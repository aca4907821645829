"""How large: Items, Members and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Size:
    """A fleet to measure with. Members are of equal limits, so that their fair share is their mean load."""

    items: int
    members: int
    replicas: int = 2

    @property
    def limit(self) -> int:
        """A Member's limit: half as much again as it needs, and room for a few more Items."""
        return min(4096, ceil(1.5 * self.items * self.replicas / self.members) + 150)

    @property
    def tenth(self) -> int:
        """A tenth of the Members."""
        return max(1, self.members // 10)

    @property
    def more(self) -> int:
        """How many Items are added and deleted."""
        return min(1000, self.items)

    @property
    def processes(self) -> int:
        """Processes that the simulated Sessions are spread over."""
        return 1 if self.members <= 100 else 2

    def __str__(self) -> str:
        return f"{self.items:,} x {self.members:,}"


SIZES = {"small": Size(1_000, 20), "medium": Size(10_000, 100), "large": Size(100_000, 1_000)}


def size_named(text: str) -> Size:
    """`small`, `medium`, `large` or ITEMSxMEMBERS. Raises ValueError."""
    if text in SIZES:
        return SIZES[text]
    items, cross, members = text.partition("x")
    if not cross or not items.isdigit() or not members.isdigit():
        raise ValueError(f"a size is {', '.join(SIZES)} or ITEMSxMEMBERS, not {text!r}")
    return Size(int(items), int(members))
