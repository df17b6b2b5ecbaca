from lookaside.model import Endpoint, Revision, ServiceName, Snapshot, State
from lookaside.registry.published import Published
from tests.registry.conftest import KEY, TextEncoder


def snapshot(digest: str, *last: int, version: int = 1) -> Snapshot:
    endpoints = tuple(Endpoint(f"10.0.0.{n}", 50051) for n in last)
    return Snapshot(ServiceName(KEY), "s", State.PRESENT, endpoints, Revision(digest, version, "e"))


def test_bytes_are_made_when_first_wanted_and_once() -> None:
    encoder = TextEncoder()
    published = Published(snapshot("x", 1, 2), encoder)
    assert encoder.encoded == 0
    assert published.whole() is published.whole()
    assert encoder.encoded == 1


def test_a_delta_is_made_once_for_each_base() -> None:
    published = Published(snapshot("c", 1, 2, 4), TextEncoder())
    first = published.since(snapshot("a", 1, 2, 3))
    assert first == b"PRESENT +10.0.0.4 -10.0.0.3"
    assert published.since(snapshot("a", 1, 2, 3, version=9)) is first
    assert published.since(snapshot("b", 1, 4)) == b"PRESENT +10.0.0.2 -"


def test_a_delta_that_is_larger_than_the_list_is_the_list() -> None:
    published = Published(snapshot("b", 9), TextEncoder())
    assert published.since(snapshot("a", 1, 2)) is published.whole()
    assert Published(snapshot("b"), TextEncoder()).since(snapshot("a", 1)) == b"PRESENT "


def test_under_another_revision_the_bytes_are_used_again() -> None:
    encoder = TextEncoder()
    published = Published(snapshot("x", 1, 2), encoder)
    assert published.at(Revision("x", 1, "e")) is published
    later = published.at(Revision("x", 5, "e"))
    latest = later.at(Revision("x", 7, "e"))
    assert later.whole() == b"PRESENT 10.0.0.1,10.0.0.2 @5"
    assert latest.whole() == b"PRESENT 10.0.0.1,10.0.0.2 @7"
    assert latest.since(snapshot("a", 1)) == b"PRESENT +10.0.0.2 - @7"
    assert encoder.encoded == 1
    assert latest.digest == "x"
