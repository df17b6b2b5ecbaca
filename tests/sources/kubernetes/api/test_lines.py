import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.sources.kubernetes.api.errors import ResponseTooLarge
from lookaside.sources.kubernetes.api.lines import PORTION, LineBuffer, portions

LINE = st.binary(max_size=20).map(lambda data: data.replace(b"\n", b""))


@given(st.lists(LINE), LINE, st.lists(st.integers(0, 400)))
def test_lines_are_the_same_however_they_are_cut(
    lines: list[bytes], last: bytes, cuts: list[int]
) -> None:
    data = b"".join(line + b"\n" for line in lines) + last
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    buffer = LineBuffer(1000)
    seen = [
        line for start, end in itertools.pairwise(edges) for line in buffer.feed(data[start:end])
    ]
    assert seen == [line for line in lines if line.strip()]
    assert buffer.rest() == last.strip()


@pytest.mark.parametrize(
    "chunks",
    [
        [b"12345678901"],
        [b"12345678901\n"],
        [b"a\n12345678901\nb\n"],
        [b"123456", b"78901"],
        [b"123456", b"78901\n"],
        [b"a\n123456", b"7890", b"1"],
    ],
)
def test_a_line_above_the_limit_is_refused(chunks: list[bytes]) -> None:
    buffer = LineBuffer(10)
    for chunk in chunks[:-1]:
        buffer.feed(chunk)
    with pytest.raises(ResponseTooLarge, match="10 bytes"):
        buffer.feed(chunks[-1])


def test_a_line_of_the_limit_is_taken() -> None:
    buffer = LineBuffer(10)
    assert buffer.feed(b"1234567890\n1234567890\n12") == [b"1234567890"] * 2
    assert buffer.feed(b"34567890") == []
    assert buffer.rest() == b"1234567890"


def test_lines_are_read_some_at_a_time_and_a_long_one_by_itself() -> None:
    short, long = [b"x"] * 40, [b"x" * (PORTION + 1)] * 2
    assert list(map(len, portions(short))) == [16, 16, 8]
    assert list(map(len, portions([*long, *short[:3], *long]))) == [1, 1, 3, 1, 1]
    assert [line for some in portions([*short, *long]) for line in some] == [*short, *long]
    assert list(portions([])) == []
