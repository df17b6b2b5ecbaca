import threading
from collections.abc import Iterable, Iterator
from queue import Queue

import pytest

from client_resolver.sync.requests import Kept, Requests, keeping

LIMIT = 10


def send(attempt: Iterable[Kept]) -> Iterator[bytes]:
    """Take an attempt's requests as grpc does: each is serialized before the next is asked for."""
    serialize = keeping(None)
    for kept in attempt:
        yield serialize(kept)


def test_an_attempt_gets_every_request() -> None:
    assert list(send(Requests([b"1", b"2", b"3"]).attempt())) == [b"1", b"2", b"3"]


def test_a_request_is_serialized_once_for_all_attempts() -> None:
    serialized: list[int] = []

    def serializer(number: int) -> bytes:
        serialized.append(number)
        return bytes([number])

    serialize = keeping(serializer)
    requests = Requests([1, 2], LIMIT)
    for _ in range(2):
        assert [serialize(kept) for kept in requests.attempt()] == [b"\1", b"\2"]
    assert serialized == [1, 2]


def test_the_first_request_is_kept_where_no_more_are() -> None:
    requests = Requests(iter([b"1", b"2"]))
    assert next(send(requests.attempt())) == b"1"
    assert requests.repeatable
    assert list(send(requests.attempt())) == [b"1", b"2"]
    assert not requests.repeatable


def test_requests_are_kept_up_to_the_limit() -> None:
    requests = Requests(iter([b"x" * 4] * 4), LIMIT)
    first = send(requests.attempt())
    for _ in range(3):
        assert next(first) == b"x" * 4
    assert requests.repeatable
    assert next(first) == b"x" * 4
    assert not requests.repeatable


def test_nothing_is_kept_for_the_only_attempt() -> None:
    requests = Requests(iter([b"1", b"2", b"3"]), LIMIT)
    attempt = requests.attempt()
    sent = send(attempt)
    assert [next(sent), next(sent)] == [b"1", b"2"]
    before = requests.repeatable
    requests.only(attempt)
    assert (before, requests.repeatable) == (True, False)
    assert list(sent) == [b"3"]


def test_attempts_side_by_side_get_every_request_each() -> None:
    requests = Requests(iter([b"1", b"2", b"3"]), LIMIT)
    one, other = send(requests.attempt()), send(requests.attempt(beside=True))
    assert [next(one), next(one), next(other)] == [b"1", b"2", b"1"]
    assert list(one) == [b"3"]
    assert list(other) == [b"2", b"3"]


def test_an_attempt_that_is_replaced_gets_no_more() -> None:
    requests = Requests(iter([b"1", b"2"]), LIMIT)
    first = send(requests.attempt())
    assert next(first) == b"1"
    assert list(send(requests.attempt())) == [b"1", b"2"]
    assert list(first) == []


def test_what_the_source_raises_is_raised_to_every_attempt() -> None:
    def source() -> Iterator[bytes]:
        yield b"1"
        raise OSError("the source is broken")

    requests = Requests(source(), LIMIT)
    for _ in range(2):
        attempt = send(requests.attempt())
        assert next(attempt) == b"1"
        with pytest.raises(OSError, match="broken"):
            next(attempt)


def test_an_attempt_that_waits_for_the_source_keeps_nothing_from_the_next() -> None:
    queue: Queue[bytes | None] = Queue()
    waiting = threading.Event()

    def source() -> Iterator[bytes]:
        yield b"1"
        waiting.set()
        while (item := queue.get()) is not None:
            yield item

    requests = Requests(source(), LIMIT)
    first = send(requests.attempt())
    assert next(first) == b"1"
    rest: list[bytes] = []
    reader = threading.Thread(target=lambda: rest.extend(first))
    reader.start()
    assert waiting.wait(10)
    second = send(requests.attempt())
    # The source gives nothing yet.
    assert next(second) == b"1"
    for item in (b"2", b"3", None):
        queue.put(item)
    assert list(second) == [b"2", b"3"]
    reader.join(10)
    assert rest == []


def test_nobody_waits_behind_another_after_the_end() -> None:
    asked, gate = threading.Event(), threading.Event()

    def source() -> Iterator[bytes]:
        asked.set()
        gate.wait(20)
        yield b"1"

    requests = Requests(source(), LIMIT)
    first = requests.attempt()
    asking = threading.Thread(target=lambda: list(first))
    asking.start()
    assert asked.wait(10)
    second = requests.attempt()
    waiting = threading.Thread(target=lambda: list(second))
    waiting.start()
    requests.end()
    waiting.join(10)
    assert not waiting.is_alive()
    gate.set()
    asking.join(10)
    assert not asking.is_alive()
