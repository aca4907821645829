"""Files and standard input as YAML or JSON documents."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from berth.cli.errors import UsageError, brief
from berth.cli.yaml_reader import TOO_DEEP, Unbounded, YamlError, parse_float, parse_int, yaml_documents

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 1 << 30
"""Of one file, so that a device without an end is refused before memory runs out."""
_SPACE = re.compile(r"\s*")


class Document(NamedTuple):
    """One document, and where it was read, for messages."""

    where: str
    body: Any


def read_documents(paths: list[str]) -> Iterator[Document]:
    """The documents of files (`-` is standard input, a folder stands for its manifests).

    Raises UsageError, whose message names file, place and reason.
    """
    for path in paths:
        if path == "-" or not Path(path).is_dir():
            yield from _read(path)
            continue
        files = sorted(str(file) for file in Path(path).iterdir() if file.suffix in SUFFIXES)
        if not files:
            raise UsageError(f"{path}: this folder has no manifests ({', '.join(SUFFIXES)})")
        for file in files:
            yield from _read(file, may_be_empty=True)


def _read(path: str, may_be_empty: bool = False) -> Iterator[Document]:
    label = "standard input" if path == "-" else path
    try:
        text = _text(path, label)
        if not (text.strip() or may_be_empty or path == "-"):
            raise UsageError(f"{label}: this file is empty: give one with manifests")
        yield from _documents(label, text)
    except MemoryError:
        raise UsageError(f"{label}: there is not enough memory to read it: split it up") from None


def _text(path: str, label: str) -> str:
    try:
        if path == "-":
            if sys.stdin is None:
                raise UsageError("standard input is closed: give a file, or a pipe to read from")
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "give a file, a folder, or - for standard input"
        raise UsageError(f"{label}: {error.strerror}: {hint}") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{label}: larger than {MAX_BYTES >> 20} MiB: split it into several files")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{label}: not UTF-8 text (byte {error.start}): save it in UTF-8") from None


def _documents(label: str, text: str) -> Iterator[Document]:
    """The documents of a YAML or JSON text, without empty ones."""
    start = text[_skip_space(text, 0) :][:1]
    if start == "[":  # without reading on: it may be long
        raise UsageError(f"{label}, document 1: not a Kubernetes object but a list")
    if start == "{":
        try:
            yield from _json_documents(label, text)
            return
        except json.JSONDecodeError as error:  # it may be YAML all the same
            if label.endswith(".json"):
                place = f"line {error.lineno}, column {error.colno}"
                raise UsageError(f"{label}, {place}: not valid JSON: {error.msg}") from None
        except RecursionError:
            raise UsageError(f"{label}: {TOO_DEEP}") from None
    try:
        for number, body in enumerate(yaml_documents(text), 1):
            if body is not None:
                yield Document(f"{label}, document {number}", body)
    except YamlError as error:
        raise UsageError(f"{label}{error.place}: {error}") from None


def _json_documents(label: str, text: str) -> list[Document]:
    found: list[Document] = []

    def where() -> str:
        return f"{label}, document {len(found) + 1}"

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            key = next(key for number, key in enumerate(keys) if key in keys[:number])
            raise UsageError(f"{where()}: the key {brief(key)!r} is twice in one map")
        return value

    decoder = json.JSONDecoder(
        object_pairs_hook=unique, parse_int=parse_int, parse_float=parse_float, parse_constant=Unbounded
    )
    at = _skip_space(text, 0)
    while at < len(text):
        body, at = decoder.raw_decode(text, at)
        found.append(Document(where(), body))
        at = _skip_space(text, at)
    return found


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
