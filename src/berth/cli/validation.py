"""What pydantic finds wrong with an object, in words that name the field and what it needs."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from berth.cli.values import brief, shown
from berth.kinds import parse_entry, parse_report

_RULES = {
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_too_short": "must have {min_length} characters or more",
    "too_long": "must have {max_length} entries or fewer",
    "string_pattern_mismatch": "must match {pattern}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "string_type": "must be a string (put it in quotes)",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
}
_PARSERS = {("spec", "items"): parse_entry, ("status", "items"): parse_report}
"""Fields whose strings have a parser, which says better than their pattern what is wrong."""


def explain_error(error: ValidationError) -> str:
    """The first thing that is wrong: the field, and what it needs."""
    first, *others = error.errors(include_url=False)
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{brief(part)}" for part in first["loc"])
    # A rule over the whole object names the field itself.
    prefix = f"{field.removeprefix('.')}: " if field else ""
    more = f" (and {len(others)} more)" if others else ""
    return f"{prefix}{_words(dict(first))}{more}"


def _words(error: dict[str, Any]) -> str:
    kind, value = error["type"], error.get("input")
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "unknown field"
    if kind == "string_pattern_mismatch" and (parse := _PARSERS.get(error["loc"][:2])):
        try:
            parse(str(value))
        except ValueError as wrong:
            return brief(str(wrong), 400)
    if kind in _RULES:
        return f"{_RULES[kind].format(**error.get('ctx', {}))}, not {shown(value)}"
    # A rule over the whole object says what it found, and its input is not worth quoting.
    quoted = "" if kind == "value_error" and not error["loc"] else f", not {shown(value)}"
    return str(error["msg"]).removeprefix("Value error, ") + quoted
