"""Whatever interrupts a thread in the middle of an RPC: nothing hangs, and no count is lost."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import combinations, cycle

import pytest

from client_resolver.testing import Balancer
from tests.client_resolver.sync.loopback import Backend

TIMES = 334
"""Interruptions of each channel: more than 1 000 for the three of this package."""

NOTHING = {"in_flight": 0, "requests": 0, "retries": 0, "pending": 0}


@pytest.fixture
def changing(backend: Callable[..., Backend]) -> Iterator[tuple[str, str]]:
    """A target whose list changes all the time, and the address of one of its backends."""
    addresses = [backend().address for _ in range(4)]
    lists = cycle([*combinations(addresses, 3)])
    weights = cycle([(100, 100, 100), (100, 50, 10)])
    over = threading.Event()
    with Balancer() as balancer:

        def change() -> None:
            while not over.wait(0.01):
                balancer.serve("greeter", next(lists), weights=next(weights))

        balancer.serve("greeter", addresses)
        thread = threading.Thread(target=change)
        thread.start()
        yield balancer.target("greeter"), addresses[0]
        over.set()
        thread.join()


# The program ends itself once nothing goes on: no time limit is for the whole of it.
@pytest.mark.timeout(0)
@pytest.mark.parametrize("mode", ["signals", "finalisers", "exceptions"])
def test_no_interruption_makes_a_channel_hang_or_lose_a_count(
    mode: str, changing: tuple[str, str]
) -> None:
    """Signal handlers, finalisers and exceptions of handlers come in the middle of RPCs.

    Exceptions only in the middle of unary RPCs that their thread waits for. With 300 in the middle
    of RPCs of another form on a plain channel, three times each: of futures and of streams of
    responses, `close()` never returned in any; of bidirectional streams, an RPC never did in any.
    grpc keeps no account then of which of its calls are still to be waited for. Hedges are futures
    beneath.
    """
    program = "tests.client_resolver.sync.interrupted"
    ran = subprocess.run(
        [sys.executable, "-m", program, mode, str(TIMES), *changing],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    *clients, end = map(json.loads, ran.stdout.splitlines())
    assert [one["client"] for one in clients] == ["0", "1", "2", "plain"]
    assert all(one["hits"] >= TIMES for one in clients)
    assert [one["left"] for one in clients] == [NOTHING] * 3 + [{}]
    assert end == {"threads": []}
    # Nothing was raised where nobody could catch it.
    assert "Traceback" not in ran.stderr
