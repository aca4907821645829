"""Counts in words. Pure."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """`1 Item`, `2 Items`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def still_here(count: int) -> str:
    """What is said of a Member that is to become empty."""
    return f"{counted(count, 'Item')} {'is' if count == 1 else 'are'} still here"
