"""The YAML reader: values as Kubernetes reads them, in bounded memory."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from berth.cli.yaml_reader import MAX_DEPTH, Unbounded, YamlError, yaml_documents

# PyYAML writes `1e3` without quotes, as it is a string to PyYAML; to Kubernetes it is a number.
words = st.text(max_size=20).filter(lambda text: not re.fullmatch(r"[-+]?[\d_.]+[eE][-+]?\d+", text))
scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | words
scalars |= st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=30,
)


@given(docs=st.lists(values, max_size=4), flow=st.sampled_from([None, True, False]))
@settings(max_examples=200, deadline=None)
def test_what_is_written_as_yaml_is_read_again(docs: list[Any], flow: bool | None) -> None:
    text = yaml.safe_dump_all(docs, default_flow_style=flow)
    assert list(yaml_documents(text)) == docs


def test_words_stand_for_what_kubernetes_reads_into_them() -> None:
    text = (
        "[0x10, 010, 08, 0b11, 1_000, +3, -0, 0, 1., .5, 1e3, yes, Off, ~, Null, , 12:30:00, 2026-01-01, "
        "-, +, ., ._, -.__, 0o17, 'yes', !!str 3, !!int '3', ! 4]"
    ).replace(", ,", ", '',")
    assert next(yaml_documents(text)) == [
        *(
            16,
            8,
            8.0,
            3,
            1000,
            3,
            0,
            0,
            1.0,
            0.5,
            1000.0,
            True,
            False,
            None,
            None,
            "",
            "12:30:00",
            "2026-01-01",
        ),
        *("-", "+", ".", "._", "-.__", "0o17", "yes", "3", 3, 4),
    ]
    assert list(yaml_documents("--- a\n...\n---\n--- {}\n")) == ["a", None, {}]
    assert next(yaml_documents("[1e999, .NaN]")) == [Unbounded("1e999"), Unbounded(".NaN")]


def test_anchors_and_merges_are_resolved() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {y: 4, <<: [{z: 5, x: 6}, *a]}\nd: [*a, &b 7, *b]\n"
    a = {"x": 1, "y": 2}
    assert next(yaml_documents(text)) == {
        "a": a,
        "b": {"x": 1, "y": 3},
        "c": {"x": 6, "y": 4, "z": 5},
        "d": [a, 7, 7],
    }
    with pytest.raises(YamlError):
        list(yaml_documents("a: &a 1\n---\nb: *a\n"))


def test_depth_is_bounded_exactly() -> None:
    list(yaml_documents("[" * MAX_DEPTH + "]" * MAX_DEPTH))
    with pytest.raises(YamlError):
        list(yaml_documents("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)))
