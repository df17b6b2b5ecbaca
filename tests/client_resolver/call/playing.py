"""Plays events to a call machine, and says in a line what it decides."""

from collections.abc import Sequence
from random import Random
from typing import Any

from client_resolver.call.accounting import Rpc
from client_resolver.call.attempt import Attempt, Status
from client_resolver.call.machine import CallMachine
from client_resolver.call.shared import Rpcs
from client_resolver.config.settings import Settings
from client_resolver.core.address import parse_address
from client_resolver.core.backend import Backend
from client_resolver.core.channel_state import Outlook
from client_resolver.core.model import Code, Connectivity, Endpoint, Failure
from client_resolver.telemetry.observer import Observer

PATH = "/t.T/UU"
TARGET = "static:///10.0.0.0:80"

RETRY: dict[str, object] = {
    "maxAttempts": 3,
    "initialBackoff": "1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
HEDGING: dict[str, object] = {
    "maxAttempts": 3,
    "hedgingDelay": "1s",
    "nonFatalStatusCodes": ["UNAVAILABLE"],
}

REFUSED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.0:80: refused"
"""What C-core says of an RPC that never left the client, on the only backend."""

NOWHERE: Outlook[Any] = Outlook(
    None, None, "a connection to one of 1 backend", Connectivity.CONNECTING
)
FAILING: Outlook[Any] = Outlook(
    None, Failure(Code.UNAVAILABLE, "all refuse"), "all refuse", Connectivity.TRANSIENT_FAILURE
)


class Kept:
    """A stream of requests, as much of it as a machine knows."""

    def __init__(self) -> None:
        self.repeatable = True
        self.broken = False


class Unjittered(Random):
    """Has every backoff be exactly as long as it is configured."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class Player:
    """One RPC of a channel with one backend, at a time that the test sets.

    Args:
        policy: The method's part of the service config.
        observers: Who is told.
        deadline: Seconds from the RPC's start. None: none.
        wait_for_ready: As the application has it.
        streams: The responses stream.
        requests: The requests stream.
        top: The rest of the service config.
    """

    def __init__(
        self,
        policy: dict[str, object] | None = None,
        *,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
        wait_for_ready: bool = False,
        streams: bool = False,
        requests: bool = False,
        **top: Any,
    ) -> None:
        entry = {"name": [{}], **(policy or {})}
        config = {"methodConfig": [entry], **top}
        keywords: Any = {"service_config": config, "observers": tuple(observers)}
        self.settings = Settings.of(TARGET, None, None, None, keywords)
        self.now = 100.0
        machine = self.settings.machine(
            Random(1), lambda _: self.settings.config.pool, lambda: self.now
        )
        self.told: list[tuple[str, bool]] = []
        self.rpcs: Rpcs[Any] = Rpcs(
            self.settings,
            machine,
            now=lambda: self.now,
            rng=Unjittered(1),
            attempt_failed=self._failed,
            wake=lambda _now: None,
        )
        self.backend: Backend[Any] = Backend(Endpoint(parse_address("10.0.0.0:80")))
        self.kept = Kept() if requests else None
        method = self.settings.config.method(PATH)
        self.rpc: Rpc[Any] = Rpc(self.rpcs, PATH, method, None, b"")
        self.refused = self.rpc.enter()
        self.machine: CallMachine[Any, None] = CallMachine(
            self.rpc,
            None if deadline is None else self.now + deadline,
            wait_for_ready=wait_for_ready,
            streams=streams,
            requests=self.kept,
        )
        self.attempts: list[Attempt[Any, None]] = []
        self.starts = self.machine.starts(self.now)

    def _failed(self, *_: object, **__: object) -> None:
        """See `client_resolver.call.shared.AttemptFailed`."""

    def play(self, *events: str) -> str:
        """Play events, and return what the machine has decided after the last."""
        said = ""
        for event in events:
            said = self._play(event)
        return said

    def _play(self, event: str) -> str:
        name, _, rest = event.partition(" ")
        getattr(self, f"_{name}")(*rest.split(" ", 2) if rest else ())
        return self.decision()

    def decision(self) -> str:
        """Say what the shell is to do now. What is to be done once is said once."""
        machine = self.machine
        self.starts = machine.starts(self.now)
        said = ["start"] if self.starts else []
        said += [f"look {self.attempts.index(one)}" for one in machine.to_look]
        said += [f"cancel {self.attempts.index(one)}" for one in machine.to_cancel]
        machine.to_look.clear()
        machine.to_cancel.clear()
        outcome = machine.outcome
        if isinstance(outcome, Status):
            said.append(f"ends {outcome.code}: {outcome.details}")
        elif outcome is not None:
            said.append(f"is {self.attempts.index(outcome)}" + (" over" if machine.over else ""))
        if machine.wake_at is not None:
            said.append(f"wake +{machine.wake_at - self.now:.6g}")
        return ", ".join(said) or "wait"

    def _start(self) -> None:
        assert self.starts
        attempt = self.machine.started(self.backend, self.now)
        self.attempts.append(attempt)

    def _end(self, number: str, code: str, details: str = "why") -> None:
        self.end(int(number), Status(code, details))

    def end(self, number: int, status: Status) -> None:
        """End an attempt's call."""
        self.machine.ended(self.attempts[number], status, self.now)

    def _headers_end(self, number: str, code: str) -> None:
        self.end(int(number), Status(code, "why", (("here", "I am"),)))

    def _push(self, number: str, code: str, pushback: str) -> None:
        self.end(int(number), Status(code, "why", (), (("grpc-retry-pushback-ms", pushback),)))

    def _refuse(self, number: str) -> None:
        self.end(int(number), Status("UNAVAILABLE", REFUSED))

    def _turn(self, number: str) -> None:
        self.end(int(number), Status("CANCELLED", "CANCELLED"))

    def _gone(self, number: str) -> None:
        self.machine.connection_seen(self.attempts[int(number)], False, self.now)

    def _there(self, number: str) -> None:
        self.machine.connection_seen(self.attempts[int(number)], True, self.now)

    def _answer(self, number: str) -> None:
        self.machine.answered(self.attempts[int(number)])

    def _nowhere(self) -> None:
        self.machine.no_backend(NOWHERE, self.now)

    def _failing(self) -> None:
        self.machine.no_backend(FAILING, self.now)

    def _after(self, seconds: str) -> None:
        self.now += float(seconds)
        self.machine.wake(self.now)

    def _overflow(self) -> None:
        assert self.kept is not None
        self.kept.repeatable = False
        self.machine.overflowed()

    def _cancel(self) -> None:
        assert self.machine.cancel()

    def _close(self) -> None:
        self.machine.channel_closed()
