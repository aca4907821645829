"""Values of a manifest, and how messages show them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

MAX_DIGITS = 40
"""Of a whole number. No field takes a longer one, and Python refuses to read one of thousands of digits."""


@dataclass(frozen=True, slots=True)
class Unbounded:
    """A number that no field takes: too long, infinite, or NaN."""

    text: str

    def __str__(self) -> str:
        digits = sum(map(str.isalnum, self.text))
        return brief(self.text, 24) + (f" ({digits} digits)" if digits > MAX_DIGITS else "")


def parse_int(text: str) -> int | Unbounded:
    """A whole number of decimal digits."""
    return Unbounded(text) if len(text) > MAX_DIGITS else int(text)


def parse_float(text: str) -> float | Unbounded:
    """A number with a point or an exponent, or a word for infinity or NaN."""
    value = float(text)
    return value if isfinite(value) else Unbounded(text)


def brief(text: str, max_length: int = 60) -> str:
    """The text, cut where it is long."""
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def shown(value: Any) -> str:
    """A value as a message quotes it."""
    if isinstance(value, dict | list):
        return f"a {type_name(value)}"
    if isinstance(value, Unbounded):
        return str(value)
    # Cut before it is escaped too: it may have 50 MB.
    return brief(repr(value[:80]) if isinstance(value, str) else json.dumps(value, default=str))


def type_name(value: Any) -> str:
    """The type of a value, in the words of YAML."""
    return {dict: "map", list: "list", str: "string", bool: "boolean"}.get(type(value), "number")
