"""YAML as Kubernetes reads it, in memory that the text bounds.

PyYAML's own loader crashes the process on deeply nested text, reads YAML 1.1 where Kubernetes does not
(times, numbers of base 60, `1e3` as a string), and accepts a key twice. So the values are built here, from
the events of its C parser and without recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from berth.cli.values import MAX_DIGITS, Unbounded, brief, parse_float, parse_int

MAX_DEPTH = 200
"""Maps and lists within each other."""
TOO_DEEP = f"nested too deeply: no Kubernetes object has more than {MAX_DEPTH} levels"
MAX_ALIASED = 1_000_000
"""Values that the aliases of one document may stand for."""

_TAGS = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    form: value
    for words, value in (("null", None), ("true yes on", True), ("false no off", False))
    for word in words.split()
    for form in (word, word.capitalize(), word.upper())
} | {"": None, "~": None}
_INT = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
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
    builder = _Builder(MAX_ALIASED + len(text))
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentEndEvent):
                yield builder.end_document()
            elif not isinstance(event, yaml.DocumentStartEvent):
                builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"not valid YAML: {error.problem}", error.problem_mark) from None
    except yaml.YAMLError as error:
        wrong = YamlError(f"not valid YAML: {getattr(error, 'reason', error)}", None)
        if (position := getattr(error, "position", None)) is not None:
            wrong.place = f", line {text.encode()[:position].count(10) + 1}"
        raise wrong from None


@dataclass(slots=True)
class _Collection:
    """A map or list that has not ended yet."""

    value: Any
    anchor: str | None
    key: str | None = None
    """Of a map: the key whose value comes next."""
    merging: bool = False
    """Of a map: what comes next is merged into it (`<<`)."""
    merged: list[dict[str, Any]] = field(default_factory=list)
    size: int = 1
    """Values in it, those that aliases stand for included."""

    @property
    def wants_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None and not self.merging


class _Builder:
    """Builds the value of a document from the parser's events."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._open: list[_Collection] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._document: Any = None

    def end_document(self) -> Any:
        """The document that ends; another one may follow."""
        document, self._document = self._document, None
        self._anchors.clear()
        return document

    def take(self, event: Any) -> None:
        """Add what an event stands for."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(event, "map", {})
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(event, "seq", [])
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                alias = f"the alias *{brief(str(event.anchor))}"
                raise YamlError(f"{alias} stands for nothing: define &{event.anchor} first", event.start_mark)
            self._put(event, *self._anchors[event.anchor])

    def _start(self, event: Any, tag: str, empty: Any) -> None:
        if event.tag not in (None, "!", _TAGS + tag):
            raise _unknown_tag(event)
        if len(self._open) == MAX_DEPTH:
            raise YamlError(TOO_DEEP, event.start_mark)
        if self._open and self._open[-1].wants_key:
            raise YamlError("a key must be a string", event.start_mark)
        self._open.append(_Collection(empty, event.anchor))

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        value = done.value
        if done.merged:  # an earlier merge wins over a later one, and a key of the map itself over both
            value = {k: v for one in reversed(done.merged) for k, v in one.items()} | value
        if done.anchor:
            self._anchors[done.anchor] = value, done.size
        self._put(event, value, done.size)

    def _scalar(self, event: Any) -> None:
        if self._open and self._open[-1].wants_key:
            self._key(event, self._open[-1])
            return
        value = _plain(event.value) if event.implicit[0] else _tagged(event) if event.tag else event.value
        if event.anchor:
            self._anchors[event.anchor] = value, 1
        self._put(event, value, 1)

    def _key(self, event: Any, around: _Collection) -> None:
        key = event.value
        if key == "<<" and event.implicit[0]:
            around.merging = True
            return
        if key in around.value:
            raise YamlError(f"the key {brief(key)!r} is twice in one map", event.start_mark)
        around.key = key
        if event.anchor:
            self._anchors[event.anchor] = key, 1

    def _put(self, event: Any, value: Any, size: int) -> None:
        """Add a value to the collection around it."""
        if not self._open:
            self._document = value
            return
        around = self._open[-1]
        around.size += size
        if around.size > self._max_size:
            raise YamlError("its aliases (*) stand for too many values: write them out", event.start_mark)
        if isinstance(around.value, list):
            around.value.append(value)
        elif around.wants_key:
            raise YamlError("a key must be a string", event.start_mark)
        elif around.merging:
            maps = value if isinstance(value, list) else [value]
            if not all(isinstance(one, dict) for one in maps):
                raise YamlError("only maps can be merged (<<)", event.start_mark)
            around.merged += maps
            around.merging = False
        else:
            around.value[around.key] = value
            around.key = None


def _plain(text: str) -> Any:
    """What a word without quotes stands for."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INT.fullmatch(text):
        return _int(text)
    if _FLOAT.fullmatch(text):
        return parse_float(text.replace("_", ""))
    return Unbounded(text) if _NOT_FINITE.fullmatch(text) else text


def _int(text: str) -> Any:
    digits = text.replace("_", "")
    prefix = digits.lstrip("-+")[:2]
    if prefix[:1] != "0" or prefix == "0":
        return parse_int(digits)
    try:
        return (
            Unbounded(text) if len(digits) > MAX_DIGITS else int(digits, {"0b": 2, "0x": 16}.get(prefix, 8))
        )
    except ValueError:  # such as 0x_
        return text


_TAGGED: dict[str, tuple[type, ...]] = {
    "int": (int, Unbounded),
    "float": (int, float, Unbounded),
    "bool": (bool,),
    "null": (type(None),),
}


def _tagged(event: Any) -> Any:
    """What a word with a tag such as `!!str` stands for."""
    tag, text = event.tag.removeprefix(_TAGS), event.value
    if tag in ("str", "timestamp", "binary"):  # all of these are strings to Kubernetes
        return text
    if tag not in _TAGGED:
        raise _unknown_tag(event)
    value = _plain(text)
    if not isinstance(value, _TAGGED[tag]) or (isinstance(value, bool) and tag != "bool"):
        raise YamlError(f"{brief(text)!r} is not a valid !!{tag}", event.start_mark)
    return value


def _unknown_tag(event: Any) -> YamlError:
    return YamlError(f"the tag {brief(event.tag)} is not supported: remove it", event.start_mark)
