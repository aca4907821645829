"""Counts in words, as statuses and the command line say them."""


def counted(count: int, what: str) -> str:
    """`1 Item`, `2 Items`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def items_are(count: int) -> str:
    """`1 Item is`, `2 Items are`."""
    return f"{counted(count, 'Item')} {'is' if count == 1 else 'are'}"


def still_here(count: int) -> str:
    """What is said of a Member that is to become empty."""
    return f"{items_are(count)} still here"
