import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.sources.kubernetes.api.jsontext import Malformed, elements, members, shallow

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
SPACES = st.sampled_from([None, 0, 2])


def depth(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0)


def cut(value: Any, deepest: int) -> Any:
    """What `shallow` is to do, by recursion."""
    if not isinstance(value, list | dict):
        return value
    if not deepest:
        return None
    if isinstance(value, dict):
        return {name: cut(each, deepest - 1) for name, each in value.items()}
    return [cut(each, deepest - 1) for each in value]


@given(st.dictionaries(st.text(), VALUES, max_size=5), SPACES)
def test_the_members_of_an_object_are_the_text_of_its_values(
    value: dict[str, Any], indent: int | None
) -> None:
    found = members(json.dumps(value, indent=indent).encode())
    assert {json.loads(b'"%s"' % name): json.loads(text) for name, text in found.items()} == value


@given(st.lists(VALUES, max_size=5), SPACES)
def test_the_elements_of_an_array_are_the_text_of_its_values(
    value: list[Any], indent: int | None
) -> None:
    assert [
        json.loads(each) for each in elements(json.dumps(value, indent=indent).encode())
    ] == value


@given(VALUES.filter(lambda value: depth(value) > 0), st.integers(1, 4), SPACES)
def test_what_is_nested_too_deep_is_null_and_the_rest_is_as_it_was(
    value: Any, deepest: int, indent: int | None
) -> None:
    left = json.loads(shallow(json.dumps(value, indent=indent).encode(), deepest))
    assert left == cut(value, deepest)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [(b"[", b"]"), (b'{"a":', b"}"), (b"[0,[0,", b"]]"), (b'[{"a":"]"},{"b":', b"}]")],
)
def test_depth_costs_neither_recursion_nor_more_than_length(opening: bytes, closing: bytes) -> None:
    deep = opening * 20_000 + b"1" + closing * 20_000
    assert members(b'{"a":%s,"b":2}' % deep) == {b"a": deep, b"b": b"2"}
    assert json.loads(shallow(b"[%s]" % deep))


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"x", b'"', b"{", b"[", b"}", b"]", b"{]x", b'{"a', b'{"a"', b'{"a":', b'{"a":1',
        b'{"a":1,', b'{"a":1,}', b'{"a":[}', b'{"a":"\\"}', b"{1:2}", b"[1", b"[1,", b"[,]", b"[[]",
        b'["', b'["\\"]', b"\xff", b"{\xff}", b"[\xff", b"null",
    ],
)  # fmt: skip
def test_what_is_cut_or_is_something_else_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        members(text)
    with pytest.raises(Malformed):
        list(elements(text))


@given(st.binary())
def test_no_bytes_raise_anything_else(text: bytes) -> None:
    for take in (members, lambda text: list(elements(text)), shallow):
        with suppress(Malformed):
            take(text)


def test_of_a_name_that_is_there_twice_the_last_counts() -> None:
    assert members(b'{"a":1,"b":2,"a":3}') == {b"a": b"3", b"b": b"2"}
