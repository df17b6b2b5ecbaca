"""Whatever happens to an RPC in whatever order, its machine keeps what gRPC promises."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from client_resolver.call.attempt import Attempt, Status
from client_resolver.telemetry.observer import Attempt as Told
from client_resolver.telemetry.observer import Observer
from tests.client_resolver.call.playing import FAILING, NOWHERE, REFUSED, Player

MOST = 3
LIMITS = {"maxRequests": 9, "maxRetries": 9, "maxPendingRequests": 9}
POLICIES: dict[str, dict[str, object]] = {
    "none": {},
    "retry": {
        "retryPolicy": {
            "maxAttempts": MOST,
            "initialBackoff": "1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
            "perAttemptRecvTimeout": "4s",
        }
    },
    "hedging": {
        "hedgingPolicy": {
            "maxAttempts": MOST,
            "hedgingDelay": "1s",
            "nonFatalStatusCodes": ["UNAVAILABLE"],
        }
    },
}
STATUSES = [
    Status("OK"),
    Status("UNAVAILABLE", "why"),
    Status("NOT_FOUND", "why"),
    Status("UNAVAILABLE", REFUSED),
    Status("CANCELLED", "CANCELLED"),
    Status("DEADLINE_EXCEEDED", "Deadline Exceeded"),
    Status("UNAVAILABLE", "why", (("here", "I am"),)),
    Status("UNAVAILABLE", "why", (), (("grpc-retry-pushback-ms", "500"),)),
    Status("UNAVAILABLE", "why", (), (("grpc-retry-pushback-ms", "-1"),)),
]


class Counts(Observer):
    def __init__(self) -> None:
        self.open: set[int] = set()
        self.ended: list[int] = []
        self.rpcs: list[str] = []

    def attempt_started(self, attempt: Told) -> None:
        self.open.add(attempt.number)

    def attempt_ended(self, attempt: Told, code: str, seconds: float) -> None:
        self.open.remove(attempt.number)
        self.ended.append(attempt.number)

    def rpc_ended(self, target: str, method: str, code: str, seconds: float, attempts: int) -> None:
        self.rpcs.append(code)


class OneRpc(RuleBasedStateMachine):
    """Calls that a shell has made end in any order and any way, also those it was to cancel."""

    player: Player

    @initialize(
        policy=st.sampled_from(sorted(POLICIES)),
        streams=st.booleans(),
        requests=st.booleans(),
        deadline=st.sampled_from([None, 0.5, 5.0]),
        wait_for_ready=st.booleans(),
    )
    def begin(self, policy: str, **kwargs: Any) -> None:
        self.counts = Counts()
        self.policy = policy
        self.player = Player(
            POLICIES[policy], observers=[self.counts], circuitBreaker=LIMITS, **kwargs
        )
        self.machine = self.player.machine
        # Calls under way, those to be cancelled among them.
        self.calls: list[Attempt[Any, None]] = []
        self.to_look: list[Attempt[Any, None]] = []
        self.unsent = 0
        self.answered: Attempt[Any, None] | None = None
        self.decided: object = None

    @property
    def starts(self) -> bool:
        return self.machine.starts(self.player.now)

    @precondition(lambda self: self.starts)
    @rule()
    def start(self) -> None:
        attempt = self.machine.started(self.player.backend, self.player.now)
        self.calls.append(attempt)

    @precondition(lambda self: self.starts)
    @rule(outlook=st.sampled_from([NOWHERE, FAILING]))
    def find_none(self, outlook: Any) -> None:
        self.machine.no_backend(outlook, self.player.now)

    @precondition(lambda self: self.starts)
    @rule()
    def fail_to_start(self) -> None:
        attempt = self.machine.started(self.player.backend, self.player.now)
        self.machine.start_failed(attempt, Status("INTERNAL", "no bytes"))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), status=st.sampled_from(STATUSES))
    def end(self, data: st.DataObject, status: Status) -> None:
        attempt = data.draw(st.sampled_from(self.calls))
        self.calls.remove(attempt)
        self.machine.ended(attempt, status, self.player.now)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(self.calls))
        self.machine.answered(attempt)

    @precondition(lambda self: self.machine.to_look)
    @rule(ready=st.booleans())
    def look(self, ready: bool) -> None:
        before = self.machine.outcome
        self.machine.connection_seen(self.machine.to_look.pop(), ready, self.player.now)
        if before is None and not ready:
            self.unsent += 1

    @rule(seconds=st.sampled_from([0.001, 0.5, 1.0, 4.0]))
    def pass_time(self, seconds: float) -> None:
        self.player.now += seconds
        self.machine.wake(self.player.now)

    @precondition(lambda self: self.player.kept is not None)
    @rule()
    def overflow(self) -> None:
        assert self.player.kept is not None
        self.player.kept.repeatable = False
        self.machine.overflowed()

    @rule()
    def cancel(self) -> None:
        over = self.machine.over
        assert self.machine.cancel() == (not over)

    @rule()
    def close(self) -> None:
        self.machine.channel_closed()

    @invariant()
    def no_more_attempts_reach_servers_than_the_policy_has(self) -> None:
        most = 1 if self.policy == "none" else MOST
        assert self.player.rpc.attempts - self.unsent <= most

    @invariant()
    def an_outcome_is_final(self) -> None:
        machine = self.machine
        assert self.decided is None or machine.outcome is self.decided
        self.decided = machine.outcome
        if self.decided is not None:
            assert not self.starts
            assert not machine.to_look
            # At most the call that is the RPC's goes on.
            assert machine.running in ([], [machine.outcome])
        if machine.over:
            assert machine.wake_at is None

    @invariant()
    def an_rpc_that_is_not_over_has_something_that_brings_it_on(self) -> None:
        machine = self.machine
        waits = self.starts or machine.running or machine.to_look or machine.wake_at is not None
        assert machine.over or waits

    @invariant()
    def what_was_given_up_is_told_to_the_shell(self) -> None:
        gone = [one for one in self.calls if one not in self.machine.running]
        assert all(one in self.machine.to_cancel for one in gone)

    @invariant()
    def each_attempt_and_the_rpc_are_accounted_for_once(self) -> None:
        counts, machine = self.counts, self.machine
        assert len(set(counts.ended)) == len(counts.ended)
        assert len(counts.rpcs) == machine.over
        breaker = self.player.rpcs.breaker
        assert breaker.requests == (not machine.over)
        if machine.over:
            assert not counts.open
            assert (breaker.pending, breaker.retries) == (0, 0)


TestOneRpc = OneRpc.TestCase
TestOneRpc.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
