"""What a Member reports of itself."""

from dataclasses import dataclass

MAX_PROBLEMS = 64
"""The maximum number of problems in the status of an Assignment."""

MAX_MESSAGE = 1024
"""The maximum length of a problem's message, in characters."""

Intent = tuple[str, int, int]
"""Name, grant and epoch of an Item that is to be activated once this has been reported."""


@dataclass(frozen=True, slots=True)
class ItemProblem:
    """Why an Item failed."""

    item: str
    grant: int
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is to report at one moment."""

    reports: tuple[str, ...]
    """As written to `status.items`, sorted."""
    problems: tuple[ItemProblem, ...]
    intents: frozenset[Intent]
    """Activations that may start once this has been written, if the target is still the same."""


def describe(error: BaseException) -> str:
    """One line about an error, for a person."""
    try:
        text = " ".join(str(error).split()) or "no message"
    except Exception:
        text = "no message that can be read"
    # File names that are not UTF-8 contain surrogates, which JSON cannot represent.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{type(error).__name__}: {text}"
