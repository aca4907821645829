"""YAML as Kubernetes reads it, from the parser's events: without recursion, in memory that the text bounds.

PyYAML's own loader ends the process where a text is nested too deeply, and follows aliases whatever
they add up to ("billion laughs").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from berth.cli.values import MAX_DIGITS, Unbounded, brief, fraction, whole

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
# A time is a string, and 12:30:00 no number of base 60.
_WHOLE = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)")
_FRACTION = re.compile(r"[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class YamlError(ValueError):
    """What is wrong with a text; `place` says where, as in ", line 3, column 1"."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem)
        known = mark is None or isinstance(mark, str)
        self.place: str = (mark or "") if known else f", line {mark.line + 1}, column {mark.column + 1}"


@dataclass(slots=True)
class _Open:
    """A map or list that has not ended yet."""

    value: Any
    anchor: str | None
    key: str | None = None
    """Of a map: the key whose value comes next."""
    merge: bool = False
    """Of a map: what comes next is merged into it (`<<`)."""
    merged: list[dict[str, Any]] = field(default_factory=list)
    size: int = 1
    """Values in it, those that aliases stand for too."""


def yaml_documents(text: str) -> Iterator[Any]:
    """The documents of a text: maps with keys that are strings, lists, strings, numbers, booleans, None.

    Raises YamlError, for what other systems than Kubernetes read into it too: tags of their own,
    keys that are maps or stand twice.
    """
    reader = _Reader(MAX_ALIASED + len(text))
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentEndEvent):
                yield reader.document()
            elif not isinstance(event, yaml.DocumentStartEvent):
                reader.take(event)
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"this is no YAML: {error.problem}", error.problem_mark) from None
    except yaml.YAMLError as error:
        reason, position = getattr(error, "reason", error), getattr(error, "position", None)
        line = "" if position is None else f", line {text.encode()[:position].count(10) + 1}"
        raise YamlError(f"this is no YAML: {reason}", line) from None


class _Reader:
    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._document: Any = None

    def document(self) -> Any:
        """The document that has ended; the next one begins."""
        done, self._document = self._document, None
        self._anchors.clear()
        return done

    def take(self, event: Any) -> None:
        """Go on by one event of the parser."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin(event, "map", {})
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin(event, "seq", [])
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise YamlError(
                    f"the alias *{brief(str(event.anchor))} stands for nothing: give it an anchor (&) before",
                    event.start_mark,
                )
            self._put(event, *self._anchors[event.anchor])
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._open.pop()
            value = done.value
            if done.merged:  # of what is merged the first counts, and what the map says itself before all
                value = {k: v for one in reversed(done.merged) for k, v in one.items()} | value
            if done.anchor:
                self._anchors[done.anchor] = value, done.size
            self._put(event, value, done.size)

    def _begin(self, event: Any, tag: str, empty: Any) -> None:
        if event.tag not in (None, "!", _TAGS + tag):
            raise _foreign_tag(event)
        if len(self._open) == MAX_DEPTH:
            raise YamlError(TOO_DEEP, event.start_mark)
        if self._open and isinstance(self._open[-1].value, dict):
            self._no_key(event)
        self._open.append(_Open(empty, event.anchor))

    def _no_key(self, event: Any) -> None:
        around = self._open[-1]
        if around.key is None and not around.merge:
            raise YamlError("a key must be a string", event.start_mark)

    def _scalar(self, event: Any) -> None:
        around = self._open[-1] if self._open else None
        if around is not None and around.key is None and not around.merge and isinstance(around.value, dict):
            key = event.value
            if key == "<<" and event.implicit[0]:
                around.merge = True
                return
            if key in around.value:
                raise YamlError(f"the key {brief(key)!r} stands twice in one map", event.start_mark)
            around.key = key
            if event.anchor:
                self._anchors[event.anchor] = key, 1
            return
        value = _plain(event.value) if event.implicit[0] else _tagged(event) if event.tag else event.value
        if event.anchor:
            self._anchors[event.anchor] = value, 1
        self._put(event, value, 1)

    def _put(self, event: Any, value: Any, size: int) -> None:
        """The value where it belongs."""
        if not self._open:
            self._document = value
            return
        around = self._open[-1]
        around.size += size
        if around.size > self._max_size:
            raise YamlError("its aliases (*) stand for too much: write out what is meant", event.start_mark)
        if isinstance(around.value, list):
            around.value.append(value)
            return
        self._no_key(event)
        if around.merge:
            maps = value if isinstance(value, list) else [value]
            if not all(isinstance(one, dict) for one in maps):
                raise YamlError("only maps can be merged (<<)", event.start_mark)
            around.merged += maps
            around.merge = False
        else:
            around.value[around.key] = value
            around.key = None


def _plain(text: str) -> Any:
    """What a word without quotes stands for."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _WHOLE.fullmatch(text):
        digits = text.replace("_", "")
        prefix = digits.lstrip("-+")[:2]
        if prefix[:1] != "0" or prefix == "0":
            return whole(digits)
        try:
            base = {"0b": 2, "0x": 16}.get(prefix, 8)
            return Unbounded(text) if len(digits) > MAX_DIGITS else int(digits, base)
        except ValueError:  # as 0x_
            return text
    if _FRACTION.fullmatch(text):
        return fraction(text.replace("_", ""))
    return Unbounded(text) if _NO_NUMBER.fullmatch(text) else text


def _tagged(event: Any) -> Any:
    """What a word with a tag such as `!!str` stands for."""
    tag, text = event.tag.removeprefix(_TAGS), event.value
    if tag in ("str", "timestamp", "binary"):  # Kubernetes has no other type for these
        return text
    value = _plain(text)
    kinds: dict[str, tuple[type, ...]] = {
        "int": (int, Unbounded),
        "float": (int, float, Unbounded),
        "bool": (bool,),
        "null": (type(None),),
    }
    if tag not in kinds:
        raise _foreign_tag(event)
    if not isinstance(value, kinds[tag]) or (isinstance(value, bool) and tag != "bool"):
        raise YamlError(f"{brief(text)!r} is no !!{tag}", event.start_mark)
    return value


def _foreign_tag(event: Any) -> YamlError:
    return YamlError(f"the tag {brief(event.tag)} has no meaning here: leave it out", event.start_mark)
