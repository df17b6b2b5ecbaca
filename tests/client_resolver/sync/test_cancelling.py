"""RPCs that are cancelled at random moments leave nothing behind."""

import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

import grpc
import pytest

from tests.client_resolver.sync.loopback import RETRY, Backend, config, echo
from tests.client_resolver.sync.test_attempts import KINDS, begin, nothing_left, settles

LIMITS = {"circuitBreaker": {"maxRequests": 100_000}}
CONFIGS = {
    "plain": None,
    "retried": config(retryPolicy=RETRY, top=LIMITS),
    "timed": config(retryPolicy={**RETRY, "perAttemptRecvTimeout": "5s"}, top=LIMITS),
    "hedged": config(hedgingPolicy={"maxAttempts": 2}, top=LIMITS),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_rpcs_cancelled_at_random_leave_nothing_behind(
    name: str, backend: Callable[..., Backend], connect: Callable[..., Any]
) -> None:
    rng = Random(7)

    def shaky(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        if rng.random() < 0.3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "shaky")
        return echo(requests, context)

    channel = connect(backend(shaky), backend(shaky), service_config=CONFIGS[name])
    before = _clients()
    kinds = list(KINDS)
    held: list[Any] = []
    for number in range(400):
        held.append(begin(channel, kinds[number % 4], timeout=20))
        if len(held) > 20:
            one = held.pop(rng.randrange(len(held)))
            if rng.random() < 0.8:
                one.cancel()
    for one in held:
        one.cancel()
    assert all(one.done() or settles(one.done) for one in held)
    held.clear()
    del one
    gc.collect()
    assert nothing_left(channel)
    assert settles(lambda: not channel.snapshot().waiting_calls)
    assert settles(lambda: _ours() <= 1)
    assert settles(lambda: _clients() <= before + 1)


def _clients() -> int:
    """Count the threads that are not the servers', which keep some until they stop."""
    return sum(
        not thread.name.startswith("client_resolver.testing") for thread in threading.enumerate()
    )


class Struck(Exception):
    """What a signal handler raises."""


@pytest.mark.parametrize("name", CONFIGS)
def test_a_cancel_that_an_exception_cuts_short_is_completed(
    name: str,
    backend: Callable[..., Backend],
    connect: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = backend()
    channel = connect(one, service_config=CONFIGS[name])
    one.stop()
    assert settles(lambda: channel.snapshot().backends[0].connectivity.name != "READY")
    call = channel.unary_unary("/t.T/UU").future(b"x", timeout=60, wait_for_ready=True)
    with monkeypatch.context() as patched:

        def strike() -> None:
            raise Struck

        patched.setattr(call, "_cancel_waiting", strike)
        with pytest.raises(Struck):
            call.cancel()
        patched.undo()
    with pytest.raises(grpc.FutureCancelledError):
        call.result(20)
    assert call.cancelled()
    assert nothing_left(channel)


def _ours() -> int:
    """Count the threads of the package. A channel's driver is one."""
    return sum(thread.name.startswith("lookaside") for thread in threading.enumerate())
