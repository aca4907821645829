"""What a worker in another language is told of an Item: the same JSON object by all ways."""

from typing import TypedDict

from berth.member.held import Held


class Message(TypedDict):
    """An Item as it is to be held."""

    name: str
    slot: int
    primary: bool
    epoch: int
    data: dict[str, str]


def message(item: Held) -> Message:
    """The message about an Item as it stands."""
    return {
        "name": item.name,
        "slot": item.slot,
        "primary": item.primary,
        "epoch": item.epoch,
        "data": dict(item.data),
    }


def demoted(item: Held) -> Message:
    """The message about an Item that is to be worked on as primary no longer."""
    return {**message(item), "primary": False, "epoch": item.grant}
