"""What a schema finds wrong with an object, in words that name the field and the remedy."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from berth.cli.values import brief, shown
from berth.kinds import parse_entry, parse_report

_NUMBER_WORDS = {
    "greater_than_equal": ("ge", "must be {} or more"),
    "less_than_equal": ("le", "must be {} or less"),
    "string_too_long": ("max_length", "must have {} characters or fewer"),
    "string_too_short": ("min_length", "must have {} characters or more"),
    "too_long": ("max_length", "must have {} entries or fewer"),
    "string_pattern_mismatch": ("pattern", "must match {}"),
    "enum": ("expected", "must be {}"),
    "literal_error": ("expected", "must be {}"),
}
_TYPE_WORDS = {
    "missing": "is required",
    "extra_forbidden": "unknown field",
}
_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "string_type": "a string (put it in quotes)",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
}
_SPELLED = {("spec", "items"): parse_entry, ("status", "items"): parse_report}
"""Fields whose strings have a spelling of their own, which says better than a pattern what is wrong."""


def reason(error: ValidationError) -> str:
    """The first thing that is wrong: where in the object, and what should be there."""
    first, *others = error.errors(include_url=False)
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{brief(part)}"
    # A rule over the whole object names its field itself.
    prefix = f"{field.lstrip('.')}: " if field else ""
    more = f" (and {len(others)} more)" if others else ""
    return f"{prefix}{_words(dict(first))}{more}"


def _words(error: dict[str, Any]) -> str:
    kind, context, value = error["type"], error.get("ctx") or {}, error.get("input")
    if kind in _TYPE_WORDS:
        return _TYPE_WORDS[kind]
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {shown(value)}"
    if kind == "string_pattern_mismatch" and (parse := _SPELLED.get(error["loc"][:2])):
        try:
            parse(str(value))
        except ValueError as wrong:
            return brief(str(wrong), 400)
    if kind in _NUMBER_WORDS:
        key, words = _NUMBER_WORDS[kind]
        return f"{words.format(context.get(key))}, not {shown(value)}"
    # Rules over a whole object, of which nothing is quoted, say themselves what they found.
    quoted = "" if kind == "value_error" and not error["loc"] else f", not {shown(value)}"
    return str(error["msg"]).removeprefix("Value error, ") + quoted
