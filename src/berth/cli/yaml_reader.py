"""YAML as Kubernetes reads it, in memory that the text bounds.

PyYAML's own loader crashes the process on deeply nested text, reads YAML 1.1 where Kubernetes does not
(times, numbers of base 60, `1e3` as a string), and accepts a key twice. So the values are built here, from
the events of its C parser and to a bounded depth.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import yaml

from berth.cli.errors import brief

MAX_DEPTH = 200
"""Maps and lists within each other."""
TOO_DEEP = f"nested too deeply: no Kubernetes object has more than {MAX_DEPTH} levels"
MAX_ALIASED = 1_000_000
"""Values that the aliases of one document may stand for."""
MAX_DIGITS = 40
"""Of a whole number. No field takes a longer one, and Python refuses to read one of thousands of digits."""

_TAGS = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    form: value
    for words, value in (("null", None), ("true yes on", True), ("false no off", False))
    for word in words.split()
    for form in (word, word.capitalize(), word.upper())
} | {"": None, "~": None}
_INT = re.compile(r"[-+]?(?:0b_*[01][01_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|0[0-7_]*|[1-9][0-9_]*)")
_OCTAL = re.compile(r"^([-+]?)0(?=[0-7])")
"""The sign and the zero before octal digits, which Python writes as `0o`."""
_FLOAT = re.compile(r"[-+]?(?:\._*[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class YamlError(ValueError):
    """What is wrong with a text; `place` says where, as in `, line 3, column 1`."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem)
        self.place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""


def yaml_documents(text: str) -> Iterator[Any]:
    """The documents of a text: maps with strings as keys, lists, strings, numbers, booleans, None.

    Raises YamlError for text that is not YAML, and for what Kubernetes does not accept: other tags than
    those of plain values, keys that are not strings or are twice in one map.
    """
    try:
        yield from _Reader(text).documents()
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"not valid YAML: {error.problem}", error.problem_mark) from None
    except yaml.YAMLError as error:
        wrong = YamlError(f"not valid YAML: {getattr(error, 'reason', error)}", None)
        if (position := getattr(error, "position", None)) is not None:
            wrong.place = f", line {text.encode()[:position].count(10) + 1}"
        raise wrong from None


class _Reader:
    """Builds the values of a text from the parser's events."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._anchors: dict[str, tuple[Any, int]] = {}
        """The value of each anchor, and how many values that is."""
        self._count = 0
        """Values of the document so far, those that aliases stand for included."""
        self._max_count = MAX_ALIASED + len(text)

    def documents(self) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                self._count = 0
                document = self._value(next(self._events), MAX_DEPTH)
                next(self._events)  # its end; until there the text may prove to be wrong
                yield document

    def _value(self, event: Any, levels_left: int) -> Any:
        """The value that starts with this event."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._count
        self._count += 1
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        else:
            is_map = isinstance(event, yaml.MappingStartEvent)
            if event.tag not in (None, "!", _TAGS + ("map" if is_map else "seq")):
                raise _unknown_tag(event)
            if levels_left == 0:
                raise YamlError(TOO_DEEP, event.start_mark)
            value = self._map(levels_left - 1) if is_map else self._list(levels_left - 1)
        # Only now, so that a value cannot stand within itself.
        if event.anchor:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            name = brief(event.anchor)
            raise YamlError(f"the alias *{name} stands for nothing: define &{name} first", event.start_mark)
        value, count = self._anchors[event.anchor]
        self._count += count
        if self._count > self._max_count:
            raise YamlError("its aliases (*) stand for too many values: write them out", event.start_mark)
        return value

    def _list(self, levels_left: int) -> list[Any]:
        found = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, levels_left))
        return found

    def _map(self, levels_left: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise YamlError("a key must be a string", event.start_mark)
            key, merges = event.value, event.value == "<<" and event.implicit[0]
            if key in own and not merges:
                raise YamlError(f"the key {brief(key)!r} is twice in one map", event.start_mark)
            if event.anchor:
                self._anchors[event.anchor] = key, 1
            start = next(self._events)
            value = self._value(start, levels_left)
            if not merges:
                own[key] = value
                continue
            maps = value if isinstance(value, list) else [value]
            if not all(isinstance(one, dict) for one in maps):
                raise YamlError("only maps can be merged (<<)", start.start_mark)
            merged += maps
        # An earlier merge wins over a later one, and a key of the map itself over both.
        return {k: v for one in reversed(merged) for k, v in one.items()} | own if merged else own


# ---- plain values ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unbounded:
    """A number that no field takes: too long, infinite, or NaN."""

    text: str

    def __str__(self) -> str:
        digits = sum(map(str.isalnum, self.text))
        return brief(self.text, 24) + (f" ({digits} digits)" if digits > MAX_DIGITS else "")


def parse_int(text: str) -> int | Unbounded:
    """A whole number as Python writes it."""
    return Unbounded(text) if len(text) > MAX_DIGITS else int(text, 0)


def parse_float(text: str) -> float | Unbounded:
    """A number with a point or an exponent, or a word for infinity or NaN."""
    value = float(text)
    return value if isfinite(value) else Unbounded(text)


_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int, Unbounded),
    "float": (int, float, Unbounded),
    "bool": (bool,),
    "null": (type(None),),
}
"""What a word with a tag must be."""


def _scalar(event: Any) -> Any:
    """What a word stands for."""
    text = event.value
    if event.implicit[0]:
        return _untagged(text)
    tag = (event.tag or "").removeprefix(_TAGS)
    if tag in ("", "str", "timestamp", "binary"):  # in quotes, or a string to Kubernetes
        return text
    if tag not in _TYPES:
        raise _unknown_tag(event)
    value = _untagged(text)
    if type(value) not in _TYPES[tag]:
        raise YamlError(f"{brief(text)!r} is not a valid !!{tag}", event.start_mark)
    return value


def _untagged(text: str) -> Any:
    """What a word without quotes and without a tag stands for."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INT.fullmatch(text):
        return parse_int(_OCTAL.sub(r"\g<1>0o", text.replace("_", "")))
    if _FLOAT.fullmatch(text):
        return parse_float(text.replace("_", ""))
    return Unbounded(text) if _NOT_FINITE.fullmatch(text) else text


def _unknown_tag(event: Any) -> YamlError:
    return YamlError(f"the tag {brief(event.tag)} is not supported: remove it", event.start_mark)
