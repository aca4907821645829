"""The JSON object that describes an Item to a worker in another language, by HTTP, command or file."""

from typing import TypedDict

from berth.member.held import Held


class Message(TypedDict):
    """An Item, as it is to be held."""

    name: str
    slot: int
    primary: bool
    epoch: int
    data: dict[str, str]


def message(item: Held) -> Message:
    """The message for the present state of an Item."""
    return {
        "name": item.name,
        "slot": item.slot,
        "primary": item.primary,
        "epoch": item.epoch,
        "data": dict(item.data),
    }


def demoted(item: Held) -> Message:
    """The message for an Item that is no longer to be worked on as primary."""
    return {**message(item), "primary": False, "epoch": item.grant}
