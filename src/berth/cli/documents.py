"""Files and standard input into the documents that stand in them, as YAML or JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from berth.cli.errors import UsageError
from berth.cli.values import Unbounded, brief, fraction, whole
from berth.cli.yaml_text import TOO_DEEP, YamlError, yaml_documents

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 1 << 30
"""Of one file: a device that never ends is refused before memory does."""
_SPACE = re.compile(r"\s*")


class Document(NamedTuple):
    """One object as it was read, and where it stood."""

    where: str
    """File and position, for messages."""
    body: Any


def read_documents(paths: list[str]) -> Iterator[Document]:
    """The documents of all files (`-` is standard input, a folder stands for its manifests).

    Raises UsageError, whose message names file, place and reason.
    """
    for path, given in _expanded(paths):
        label = "standard input" if path == "-" else path
        try:
            text = _text(path, label)
            if given and path != "-" and not text.strip():
                raise UsageError(f"{label}: this file is empty: give one with manifests")
            yield from documents(label, text)
        except MemoryError:
            raise UsageError(f"{label}: there is not enough memory to read it: split it up") from None


def documents(label: str, text: str) -> Iterator[Document]:
    """The documents of a YAML or JSON text; empty ones are left out."""
    start = text[_end_of_space(text, 0) :][:1]
    if start == "[":  # without reading on: it may be long
        raise UsageError(f"{label}, document 1: this is no Kubernetes object but a list")
    if start == "{":
        try:
            yield from _json_documents(label, text)
            return
        except json.JSONDecodeError as error:
            if label.endswith(".json"):
                raise UsageError(
                    f"{label}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
                ) from None
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

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for number, key in enumerate(keys) if key in keys[:number])
            raise UsageError(
                f"{label}, document {len(found) + 1}: the key {brief(twice)!r} stands twice in one map"
            )
        return value

    decoder = json.JSONDecoder(
        object_pairs_hook=once, parse_int=whole, parse_float=fraction, parse_constant=Unbounded
    )
    at = _end_of_space(text, 0)
    while at < len(text):
        body, at = decoder.raw_decode(text, at)
        found.append(Document(f"{label}, document {len(found) + 1}", body))
        at = _end_of_space(text, at)
    return found


def _end_of_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _expanded(paths: list[str]) -> Iterator[tuple[str, bool]]:
    """The files, and whether each was given by its own name."""
    for path in paths:
        folder = Path(path)
        if path == "-" or not folder.is_dir():
            yield path, True
            continue
        inside = sorted(str(file) for file in folder.iterdir() if file.suffix in SUFFIXES)
        if not inside:
            raise UsageError(f"{path}: no manifests in this folder ({', '.join(SUFFIXES)})")
        for file in inside:
            yield file, False


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
        raise UsageError(
            f"{label}: {error.strerror}: give a file, a folder, or - for standard input"
        ) from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{label}: this has more than {MAX_BYTES >> 20} MiB: give it in several files")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{label}: this is no UTF-8 text (byte {error.start}): save it in UTF-8") from None
