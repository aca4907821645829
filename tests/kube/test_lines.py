from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from berth.kube.decode import LineSplitter

LINES = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b".")))


@given(LINES, st.lists(st.integers(0, 400), max_size=12), st.binary(max_size=5))
def test_lines_come_out_whole_wherever_the_stream_is_cut(
    lines: list[bytes], cuts: list[int], tail: bytes
) -> None:
    stream = b"".join(line + b"\n" for line in lines) + tail.replace(b"\n", b".")
    splitter = LineSplitter()
    out: list[bytes] = []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        out += splitter.feed(stream[start:end])
    assert out == [line for line in lines if line]


def test_a_line_of_megabytes_in_small_chunks_is_joined_once() -> None:
    splitter = LineSplitter()
    chunk = b"x" * 1000
    for _ in range(5000):
        assert splitter.feed(chunk) == []
    assert [len(line) for line in splitter.feed(b"\ny\n")] == [5_000_000, 1]
