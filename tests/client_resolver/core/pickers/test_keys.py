import pytest

from client_resolver.core.pickers.keys import backend_key, hash_header, key_of
from tests.client_resolver.core.pickers.fakes import FakeBackend


@pytest.mark.parametrize(
    ("value", "key"),
    [
        # The test vector of XXH64 for empty input, seed 0.
        ("", 0xEF46DB3751D8E999),
        (b"", 0xEF46DB3751D8E999),
        (7, 7),
        (-1, 2**64 - 1),
        (2**64 + 5, 5),
    ],
)
def test_text_is_hashed_and_numbers_are_cut_to_64_bits(value: str | bytes | int, key: int) -> None:
    assert key_of(value) == key


def test_text_and_its_utf8_have_the_same_key() -> None:
    assert key_of("käse") == key_of("käse".encode())


@pytest.mark.parametrize(
    ("metadata", "name", "key"),
    [
        ((), "", "a:1"),
        ((), "shard", "a:1"),
        ((("shard", "7"),), "", "a:1"),
        ((("zone", "b"), ("shard", "7")), "shard", "7"),
        ((("shard", ""),), "shard", "a:1"),
    ],
)
def test_a_backend_is_hashed_by_its_address_or_by_metadata(
    metadata: tuple[tuple[str, str], ...], name: str, key: str
) -> None:
    assert backend_key(FakeBackend("a:1", metadata=metadata), name) == key


def test_the_header_is_read_in_lower_case() -> None:
    assert hash_header({"requestHashHeader": "X-User"}) == "x-user"
    assert hash_header({}) == ""


@pytest.mark.parametrize("header", ["user-bin", "user id", "käse", 7])
def test_a_header_that_is_no_name_of_text_is_refused(header: object) -> None:
    with pytest.raises(ValueError, match="requestHashHeader is"):
        hash_header({"requestHashHeader": header})
