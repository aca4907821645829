"""What a Member says of itself."""

from dataclasses import dataclass

MAX_PROBLEMS = 64
"""Most problems in the status of an Assignment."""

MAX_MESSAGE = 1024
"""Longest message of a problem, in characters."""

Intent = tuple[str, int, int]
"""An Item's name, grant and epoch: to be activated once the API server has taken note of it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an Item has failed."""

    item: str
    grant: int
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is to say at one moment."""

    reports: tuple[str, ...]
    """As written to `status.items`, sorted."""
    troubles: tuple[Trouble, ...]
    intents: frozenset[Intent]
    """Activations that may begin once this has been written while the spec aimed at stood."""


def describe(error: BaseException) -> str:
    """One line about an error, for a person."""
    try:
        text = " ".join(str(error).split()) or "no message"
    except Exception:
        text = "no message that can be read"
    # Names of files that are no UTF-8 come with surrogates, which JSON cannot carry.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{type(error).__name__}: {text}"
