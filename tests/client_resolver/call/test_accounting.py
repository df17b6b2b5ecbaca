from random import Random
from typing import Any

import pytest

from client_resolver.call.accounting import Rpc, Trial
from client_resolver.call.attempt import Status
from client_resolver.call.shared import Rpcs
from client_resolver.config.settings import Settings
from client_resolver.core.address import parse_address
from client_resolver.core.backend import Backend
from client_resolver.core.model import Code, Endpoint
from client_resolver.telemetry.observer import Attempt, Observer

PATH = "/t.T/UU"
RETRY: dict[str, object] = {
    "maxAttempts": 3,
    "initialBackoff": "1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
    "perAttemptRecvTimeout": "2s",
}
AT = "10.0.0.1:80"
NO = Status("UNAVAILABLE", "no")
BACKENDS: list[Backend[Any]] = [
    Backend(Endpoint(parse_address(f"10.0.0.{number}:80"))) for number in (1, 2)
]


class Notes(Observer):
    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def attempt_started(self, attempt: Attempt) -> None:
        self.told.append(("begins", attempt.backend, attempt.number, attempt.hedge))

    def attempt_ended(self, attempt: Attempt, code: str, seconds: float) -> None:
        self.told.append(("ends", attempt.backend, code, seconds))

    def rpc_ended(self, target: str, method: str, code: str, seconds: float, attempts: int) -> None:
        self.told.append((target, method, code, seconds, attempts))


class Channel:
    """The RPCs of one channel, at a time that the test sets."""

    def __init__(
        self, method: dict[str, object] | None = None, observer: Observer | None = None, **top: Any
    ) -> None:
        entry = {"name": [{}], **(method or {})}
        self.settings = Settings.of(
            "static:///10.0.0.1:80,10.0.0.2:80",
            None,
            None,
            None,
            {
                "service_config": {"methodConfig": [entry], **top},
                "observers": () if observer is None else (observer,),
            },
        )
        self.config = self.settings.config
        self.now = 100.0
        machine = self.settings.machine(Random(1), lambda _: self.config.pool, lambda: self.now)
        self.rpcs: Rpcs[Any] = Rpcs(
            self.settings,
            machine,
            now=lambda: self.now,
            rng=Random(1),
            attempt_failed=self.failed,
            wake=machine.pool.wake,
        )

    def failed(self, *args: Any, **kwargs: Any) -> None:
        """See `client_resolver.call.shared.AttemptFailed`."""
        self.rpcs.machine.failed(*args, **kwargs)

    def rpc(self, metadata: Any = None) -> Rpc[Any]:
        return Rpc(self.rpcs, PATH, self.config.method(PATH), metadata, b"")


def test_metadata_may_be_an_iterator_and_tells_of_the_attempts_before() -> None:
    rpc = Channel({"retryPolicy": RETRY}).rpc(iter([("k", "v")]))
    seen = [rpc.metadata]
    trial = rpc.begin(BACKENDS[0])
    rpc.end(trial, "UNAVAILABLE")
    assert rpc.repeats.again(AT, NO) is not None
    seen.append(rpc.metadata)
    assert seen == [(("k", "v"),), (("k", "v"), ("grpc-previous-rpc-attempts", "1"))]
    assert rpc.tried == [BACKENDS[0]]


def test_what_no_server_took_up_does_not_count_as_an_attempt() -> None:
    rpc = Channel({"retryPolicy": RETRY}).rpc()
    rpc.end(rpc.begin(BACKENDS[0]), "UNAVAILABLE", ours=True)
    rpc.repeats.note(BACKENDS[0].address, Status("UNAVAILABLE", "refused"))
    assert rpc.metadata is None
    assert rpc.explained("none is left").endswith(
        ": none is left; tried before: 10.0.0.1:80 (UNAVAILABLE: refused)"
    )


def test_an_attempt_that_was_given_up_is_made_again_whatever_the_codes() -> None:
    repeats = Channel({"retryPolicy": RETRY}).rpc().repeats
    late = Status("DEADLINE_EXCEEDED", "late")
    assert repeats.again(AT, late, expired=True) is not None
    assert repeats.again(AT, late) is None


def test_the_breaker_counts_each_rpc_and_each_retry_until_it_ends() -> None:
    channel = Channel({"retryPolicy": RETRY}, circuitBreaker={"maxRequests": 1, "maxRetries": 1})
    breaker = channel.rpcs.breaker
    rpc, refused = channel.rpc(), channel.rpc()
    assert rpc.enter() is None
    failure = refused.enter()
    assert failure is not None
    assert failure.code is Code.UNAVAILABLE
    refused.finish("UNAVAILABLE")
    assert rpc.repeats.again(AT, NO) is not None
    assert (breaker.requests, breaker.retries) == (1, 1)
    other = channel.rpc()
    assert other.repeats.again(AT, NO) is None
    rpc.finish("OK")
    rpc.finish("OK")
    assert (breaker.requests, breaker.retries) == (0, 0)


HEDGING: dict[str, object] = {
    "maxAttempts": 3,
    "hedgingDelay": "1s",
    "nonFatalStatusCodes": ["UNAVAILABLE"],
}


def test_hedges_count_while_they_run() -> None:
    channel = Channel({"hedgingPolicy": HEDGING}, circuitBreaker={"maxRetries": 2})
    breaker, rpc, counts = channel.rpcs.breaker, channel.rpc(), []
    trials: list[Trial[Any]] = []
    for _ in range(3):
        assert rpc.repeats.hedge(channel.now)
        trials.append(rpc.begin(BACKENDS[0], hedge=bool(trials)))
        counts.append(breaker.retries)
        channel.now += 1
    for _ in trials:
        rpc.repeats.hedge_failed(AT, NO)
        counts.append(breaker.retries)
    assert counts == [0, 1, 2, 2, 1, 0]
    rpc.finish("UNAVAILABLE")
    assert breaker.retries == 0


def test_a_hedge_is_called_off_where_too_many_run_when_its_time_has_come_and_not_before() -> None:
    channel = Channel({"hedgingPolicy": HEDGING}, circuitBreaker={"maxRetries": 1})
    one, other = channel.rpc(), channel.rpc()
    start = channel.now
    assert one.repeats.hedge(start)
    assert other.repeats.hedge(start + 0.5)
    assert one.repeats.hedge(start + 1)
    # Nothing is due, whatever the breaker says.
    assert not other.repeats.hedge(start + 1.2)
    one.finish("OK")
    assert other.repeats.hedge(start + 1.5)
    late = channel.rpc()
    assert late.repeats.hedge(start + 1.5)
    assert not late.repeats.hedge(start + 2.5)
    other.finish("OK")
    assert not late.repeats.hedge(start + 3.5)


def test_a_wait_is_counted_once_and_ends_with_the_attempt() -> None:
    channel = Channel(circuitBreaker={"maxPendingRequests": 1})
    rpc, other = channel.rpc(), channel.rpc()
    for one in (rpc, other):
        assert one.enter() is None
    assert [rpc.waits(), rpc.waits()] == [None, None]
    failure = other.waits()
    assert failure is not None
    assert "max_pending_requests" in failure.details
    rpc.begin(BACKENDS[0])
    assert channel.rpcs.breaker.pending == 0
    assert other.waits() is None
    other.finish("CANCELLED")
    assert channel.rpcs.breaker.pending == 0


def test_an_observer_is_told_of_each_attempt_and_of_the_whole() -> None:
    notes = Notes()
    channel = Channel({"retryPolicy": RETRY}, notes)
    rpc = channel.rpc()
    assert rpc.enter() is None
    first = rpc.begin(BACKENDS[0])
    channel.now += 1
    assert rpc.end(first, "UNAVAILABLE")
    assert not rpc.end(first, "CANCELLED")
    second = rpc.begin(BACKENDS[1], hedge=True)
    channel.now += 2
    rpc.end(second, "OK")
    rpc.finish("OK")
    assert notes.told == [
        ("begins", "10.0.0.1:80", 0, False),
        ("ends", "10.0.0.1:80", "UNAVAILABLE", 1.0),
        ("begins", "10.0.0.2:80", 1, True),
        ("ends", "10.0.0.2:80", "OK", 2.0),
        (channel.settings.target.text, PATH, "OK", 3.0, 2),
    ]


@pytest.mark.parametrize(
    ("code", "details", "trailing", "told"),
    [
        ("NOT_FOUND", "", (), ["NOT_FOUND"]),
        ("NOT_FOUND", "", (("grpc-retry-pushback-ms", "5"),), ["NOT_FOUND, pushback"]),
        ("INTERNAL", "Exception serializing request!", (), []),
        ("CANCELLED", "Locally cancelled by application!", (), []),
    ],
)
def test_the_pool_is_told_of_failures_that_are_not_the_clients_own(
    code: str, details: str, trailing: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Channel(loadBalancingConfig=[{"least_request": {}}])
    seen: list[str] = []

    def failed(backend: object, code: str, *_: object, pushback: bool) -> bool:
        seen.append(f"{code}, pushback" if pushback else code)
        return False

    monkeypatch.setattr(channel.rpcs.machine, "failed", failed)
    channel.rpcs.failed(BACKENDS[0], code, details, trailing)
    rpc = channel.rpc()
    rpc.end(rpc.begin(BACKENDS[0]), code, trailing, details=details)
    # What succeeds costs nothing.
    rpc.end(rpc.begin(BACKENDS[0]), "OK")
    assert seen == told * 2
