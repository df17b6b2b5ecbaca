from random import Random

import pytest
import xxhash

from client_resolver.call.hash_key import key_of
from client_resolver.config.keywords import HashKey

METADATA = (("user", "ann"), ("user", "bob"), ("data-bin", b"\x00"))


def key(hash_key: HashKey | None = None, header: str = "", seed: int = 1) -> int:
    return key_of(
        "/t.T/UU", METADATA, b"request", hash_key=hash_key, header=header, rng=Random(seed)
    )


def test_the_values_of_the_header_are_joined_and_hashed() -> None:
    assert key(header="user") == xxhash.xxh64_intdigest(b"ann,bob")


def test_the_hash_is_xxh64_with_seed_0() -> None:
    # The algorithm's own test vector for empty input.
    assert key(lambda *_: "") == 0xEF46DB3751D8E999


@pytest.mark.parametrize(
    ("chosen", "hashed"), [("ann", b"ann"), (b"\x00", b"\x00"), (17, b"17"), ("", b"")]
)
def test_what_the_application_chooses_goes_before_the_header(
    chosen: str | bytes | int, hashed: bytes
) -> None:
    expected = xxhash.xxh64_intdigest(hashed)
    assert key(lambda *_: chosen, header="user") == expected


def test_the_application_is_told_of_the_rpc() -> None:
    told: list[object] = []

    def choose(path: str, metadata: object, request: object) -> str:
        told.extend([path, metadata, request])
        return "x"

    key(choose)
    assert told == ["/t.T/UU", {"user": "bob", "data-bin": b"\x00"}, b"request"]


@pytest.mark.parametrize(
    ("hash_key", "header"), [(None, ""), (None, "absent"), (lambda *_: None, "user")]
)
def test_what_has_nothing_to_be_placed_by_goes_anywhere(
    hash_key: HashKey | None, header: str
) -> None:
    assert key(hash_key, header, seed=1) == Random(1).getrandbits(64)
    assert key(hash_key, header, seed=2) == Random(2).getrandbits(64)
