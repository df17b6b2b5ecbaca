import threading
from collections.abc import Iterator
from queue import Queue

from client_resolver.sync.requests import Requests


def test_an_attempt_gets_every_request() -> None:
    assert list(Requests([1, 2, 3]).attempt()) == [1, 2, 3]


def test_the_first_request_is_kept_for_another_attempt() -> None:
    requests = Requests(iter([1, 2]))
    assert next(requests.attempt()) == 1
    assert requests.repeatable
    assert list(requests.attempt()) == [1, 2]
    assert not requests.repeatable


def test_an_attempt_that_waits_for_the_source_leaves_what_it_gets_to_the_next() -> None:
    queue: Queue[int | None] = Queue()
    waiting = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        waiting.set()
        while (item := queue.get()) is not None:
            yield item

    requests = Requests(source())
    first = requests.attempt()
    assert next(first) == 1
    rest: list[int] = []
    reader = threading.Thread(target=lambda: rest.extend(first))
    reader.start()
    assert waiting.wait(10)
    second = requests.attempt()
    for item in (2, 3, None):
        queue.put(item)
    assert list(second) == [1, 2, 3]
    reader.join(10)
    assert rest == []
