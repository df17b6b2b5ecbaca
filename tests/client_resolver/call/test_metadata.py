import pytest

from client_resolver.call.metadata import kept, sendable

GOOD = [
    (),
    (("k", "v"), ("k", "w")),
    (("k", ""), ("0.a_b-c", " ~")),
    (("k", b"v"), ("k-bin", b"\x00\xff")),
]


@pytest.mark.parametrize("metadata", GOOD)
def test_what_can_be_sent_is_kept_as_it_is(metadata: tuple[tuple[str, str | bytes], ...]) -> None:
    assert sendable(iter(metadata)) == kept(iter(metadata)) == metadata


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (("k", 5), "Expected str, not <class 'int'>"),
        ((5, "v"), "Expected str, not <class 'int'>"),
        (("k-bin", "v"), "\"k-bin\" expected bytes, got <class 'str'>"),
    ],
)
def test_what_is_of_another_type_is_refused_in_grpcs_words(
    item: tuple[str, str], text: str
) -> None:
    for take in (kept, sendable):
        with pytest.raises(TypeError, match=text):
            take([item])


@pytest.mark.parametrize(
    "item", [("K", "v"), ("", "v"), (":a", "v"), ("k k", "v"), ("k", "\n"), ("k", "\u00e9")]
)
def test_what_http_can_not_carry_is_named(item: tuple[str, str]) -> None:
    assert kept([item]) == (item,)
    with pytest.raises(ValueError, match="Invalid metadata: ") as caught:
        sendable([item])
    assert repr(item) in str(caught.value)
