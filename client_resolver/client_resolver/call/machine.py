"""Decides what becomes of one RPC over its attempts: the same for both shells, and pure.

A shell tells what happens by calling a method, with the time, and then does what the fields say: it
starts an attempt while `starts` holds, looks at the connections of `to_look`, gives up the calls of
`to_cancel`, comes back at `wake_at`, and hands `outcome` to the application. No thread, no event
loop and no clock is known here. The shell calls one method at a time.

An RPC gets a machine when its first attempt has failed, or from the start if it may have several
attempts at once or finds no backend. The rules are those of gRFC A6:
https://github.com/grpc/proposal/blob/master/A6-client-retries.md
"""

from typing import Generic, Protocol, TypeVar

from client_resolver.call.accounting import Rpc
from client_resolver.call.attempt import LOCALLY_CANCELLED, Attempt, Status
from client_resolver.call.suspects import Suspects, evidence_of
from client_resolver.core.backend import Backend
from client_resolver.core.channel_state import Outlook
from client_resolver.core.hedging import Verdict
from client_resolver.core.replay import Evidence

__all__ = ["CHANNEL_CLOSED", "CallMachine", "Replayable"]

H = TypeVar("H")
C = TypeVar("C")

CHANNEL_CLOSED = "Channel closed!"
"""grpc's text for a call whose channel was closed."""

_EARLY = "the deadline passed before the next attempt"


class Replayable(Protocol):
    """An RPC's stream of requests, which attempts after the first may be given again."""

    @property
    def repeatable(self) -> bool:
        """Whether another attempt can be given all requests."""

    @property
    def broken(self) -> bool:
        """Whether the application's iterator or serializer has failed."""


class _Outcome(Generic[H, C]):
    """The attempts that run, and what the application gets of them: that is decided once."""

    __slots__ = ("cancelled", "outcome", "over", "rpc", "running", "to_cancel")

    def __init__(self, rpc: Rpc[H]) -> None:
        self.rpc = rpc
        self.running: list[Attempt[H, C]] = []
        self.to_cancel: list[Attempt[H, C]] = []
        self.outcome: Attempt[H, C] | Status | None = None
        self.over = False
        self.cancelled = False

    def cancel(self) -> bool:
        """The application cancels the RPC. Return whether it was not over."""
        if self.over:
            return False
        self.cancelled = True
        if isinstance(self.outcome, Attempt):
            self.to_cancel.append(self.outcome)
        else:
            self._conclude(Status("CANCELLED", LOCALLY_CANCELLED, locally=True))
        return True

    def failed(self, error: str) -> None:
        """The application's own code, as its policy, has raised where an attempt was to start."""
        if self.outcome is None:
            self._end("INTERNAL", f"the RPC could not be started: {error}")

    def _settle(self, attempt: Attempt[H, C]) -> None:
        """Let an attempt be the RPC's, whether its call has ended or not."""
        status = attempt.status
        if attempt.expired and status is not None:
            self._end(status.code, status.details)
            return
        self.outcome = attempt
        self._let_go(attempt)
        if status is not None:
            self._finish(status.code)

    def _end(self, code: str, reason: str) -> None:
        """End the RPC for a reason found here: its text names the channel and earlier failures."""
        self._conclude(Status(code, self.rpc.explained(reason)))

    def _conclude(self, status: Status) -> None:
        self.outcome = status
        self._let_go(None)
        self._finish(status.code)

    def _let_go(self, chosen: Attempt[H, C] | None) -> None:
        """Give up all attempts but the one that was chosen, if one was."""
        self._give_up([attempt for attempt in self.running if attempt is not chosen])

    def _give_up(self, attempts: list[Attempt[H, C]]) -> None:
        for attempt in attempts:
            self.running.remove(attempt)
            self.rpc.end(attempt, "CANCELLED", ours=True)
            self.to_cancel.append(attempt)

    def _finish(self, code: str) -> None:
        self.over = True
        self.rpc.finish(code)


class _Decisions(_Outcome[H, C]):
    """What follows the failure of an attempt."""

    __slots__ = (
        "_closed",
        "_committed",
        "_deadline",
        "_last",
        "_owed",
        "_repeats",
        "_requests",
        "_resume_at",
        "_streams",
        "_suspects",
        "_waited",
        "_waits",
        "to_look",
    )

    def __init__(
        self,
        rpc: Rpc[H],
        deadline: float | None,
        *,
        wait_for_ready: bool,
        streams: bool,
        requests: Replayable | None = None,
    ) -> None:
        super().__init__(rpc)
        self._repeats = rpc.repeats
        self._deadline = deadline
        self._waits = wait_for_ready
        self._streams = streams
        self._requests = requests
        self._closed = False
        self._committed = False
        # How many attempts were granted and have no backend yet.
        self._owed = 0 if self._repeats.hedges is not None else 1
        self._resume_at: float | None = None
        self._suspects: Suspects[H, C] = Suspects()
        self.to_look = self._suspects.to_look
        # What the RPC ends with if no other attempt can be started after all.
        self._last: Attempt[H, C] | None = None
        # The attempt that is owed has found no backend.
        self._waited = False

    @property
    def _repeatable(self) -> bool:
        if self.cancelled or self._closed or self._committed:
            return False
        return self._requests is None or self._requests.repeatable

    @property
    def _busy(self) -> bool:
        """Whether something else than another attempt may still decide the RPC."""
        return bool(self.running or self._suspects)

    def _hedges_again(self, now: float) -> bool:
        """Grant another attempt beside those that run, or end the RPC if there will be none."""
        hedges = self._repeats.hedges
        if hedges is None:
            return False
        granted = self._repeats.hedge(now)
        if not granted and hedges.over and self._last is not None:
            # The throttle or the breaker has forbidden the attempt that was to follow.
            self._settle(self._last)
        return granted

    def _start_no_more(self) -> None:
        """No attempt can follow: the requests are no longer kept, or the channel is closed."""
        self._owed, self._resume_at = 0, None
        if self._repeats.hedges is not None:
            self._repeats.hedges.stop()
        if self._last is not None and not self._busy:
            self._settle(self._last)

    def _judge(self, attempt: Attempt[H, C], status: Status, now: float) -> None:
        """Decide over an attempt that has failed, and that a server may have processed."""
        self._account(attempt, status)
        self._last = attempt
        if status.initial:
            # It has been answered: gRFC A6 commits an RPC upon its response headers.
            self._settle(attempt)
        elif not self._repeatable:
            self._start_no_more()
        elif self._is_final(attempt, status, now):
            self._settle(attempt)

    def _is_final(self, attempt: Attempt[H, C], status: Status, now: float) -> bool:
        """Ask the policy whether the RPC ends with a failure. If not, arrange what follows."""
        repeats, address = self._repeats, attempt.backend.address
        if repeats.hedges is not None:
            return repeats.hedge_failed(address, status) is Verdict.FINAL
        delay = repeats.again(address, status, expired=attempt.expired)
        if delay is None or (status.code == "DEADLINE_EXCEEDED" and self._overdue(now)):
            return True
        if delay:
            self._resume_at = now + delay
        else:
            self._owed += 1
        return False

    def _account(self, attempt: Attempt[H, C], status: Status) -> None:
        code = status.code
        broken = self._requests is not None and self._requests.broken
        ours = code == "CANCELLED" and (self.cancelled or broken or self._closed)
        self.rpc.end(attempt, code, status.trailing, details=status.details, ours=ours)

    def _let_go(self, chosen: Attempt[H, C] | None) -> None:
        self._owed, self._resume_at = 0, None
        self._suspects.clear()
        super()._let_go(chosen)

    def _overdue(self, now: float) -> bool:
        return self._deadline is not None and self._deadline <= now


class CallMachine(_Decisions[H, C]):
    """One RPC over its attempts.

    Args:
        rpc: What is accounted for. The circuit breaker has let it in.
        deadline: When the RPC's time is over, on the machine's clock. None: never.
        wait_for_ready: The RPC waits for a backend even while none can be reached.
        streams: Its responses stream, so the policy's time for an attempt ends with the first.
        requests: Its stream of requests. None: it has a single request.

    Attributes:
        running: The attempts whose calls have not ended.
        to_cancel: Attempts that were given up, for the shell to cancel their calls and to clear.
        to_look: Attempts that failed as if the connection had been lost, for the shell to take out,
            look at the connection, and tell by `connection_seen`.
        outcome: What the application gets: an attempt's own call, or an end that was decided here.
            None: that is open.
        over: The RPC has ended. Until then the call of `outcome` is still under way.
        cancelled: The application has cancelled it.
    """

    __slots__ = ()

    @property
    def wake_at(self) -> float | None:
        """When to call `wake`, if nothing else happens before. None: never."""
        if self.over:
            return None
        times = [attempt.expires_at for attempt in self.running]
        if self.outcome is None:
            times += [self._suspects.wake_at, self._resume_at]
            hedges = self._repeats.hedges
            if hedges is not None and not self._owed:
                times.append(hedges.next_at)
            if not self._busy:
                times.append(self._deadline)
        return min((at for at in times if at is not None), default=None)

    def starts(self, now: float) -> bool:
        """Whether an attempt is to be started now.

        If so, `started` is to follow, or `no_backend`; then this is to be asked again.
        """
        if self.outcome is not None:
            return False
        if self.rpc.attempts and not self._repeatable:
            self._start_no_more()
            return False
        if not self._owed and self._hedges_again(now):
            self._owed = 1
        if not self._owed:
            return False
        if self._last is not None and not (self._waited or self._busy) and self._overdue(now):
            self._end("DEADLINE_EXCEEDED", _EARLY)
            return False
        return True

    def started(self, backend: Backend[H], now: float) -> Attempt[H, C]:
        """An attempt starts on a backend. grpc's call is made with its `timeout`, after this."""
        rpc = self.rpc
        attempt: Attempt[H, C] = rpc.begin(backend, hedge=bool(self.running))
        self._owed -= 1
        self._waited = False
        left = None if self._deadline is None else self._deadline - now
        retry = rpc.config.retry
        limit = None if retry is None else retry.per_attempt_timeout
        if limit is not None and self._streams:
            # Only a first response ends that time; grpc doesn't know that.
            attempt.expires_at = now + limit
            limit = None
        attempt.bound(left, limit)
        self.running.append(attempt)
        return attempt

    def start_failed(self, attempt: Attempt[H, C], status: Status) -> None:
        """An attempt's call could not be made: the RPC ends."""
        self.running.remove(attempt)
        self.rpc.end(attempt, status.code, ours=True)
        attempt.status = status
        if self.outcome is None:
            self._conclude(status)

    def no_backend(self, outlook: Outlook[H], now: float) -> None:
        """No backend could be picked. The RPC waits, or ends."""
        if self._busy or self.outcome is not None:
            # Those that run may answer yet, and each has a deadline of its own.
            return
        self._waited = True
        failure = outlook.failure
        if failure is not None and not self._waits:
            self._end(failure.code.value, failure.details)
        elif self._overdue(now):
            self._end("DEADLINE_EXCEEDED", outlook.overdue("a backend"))
        elif outlook.picker is None:
            refused = self.rpc.waits()
            if refused is not None:
                self._end(refused.code.value, refused.details)

    def resume(self, attempt: Attempt[H, C], now: float) -> None:
        """The first attempt was made before there was a machine. `ended` follows."""
        if self._repeats.hedges is not None:
            self._repeats.hedge(now)
        self._owed = 0
        self.running.append(attempt)

    def commit(self) -> None:
        """No other attempt may follow: something of the RPC has reached the application."""
        self._committed = True

    def answered(self, attempt: Attempt[H, C]) -> None:
        """An attempt's first response or its initial metadata came: it is the RPC's from now on."""
        if self.outcome is None and attempt in self.running:
            attempt.expires_at = None
            self.rpc.succeeded()
            self._settle(attempt)

    def ended(self, attempt: Attempt[H, C], status: Status, now: float) -> None:
        """An attempt's call ended. Of one that was given up, that is no event any more."""
        if attempt not in self.running:
            return
        self.running.remove(attempt)
        # It may have succeeded in the moment in which it was given up.
        attempt.expired = attempt.expired and status.code != "OK"
        if attempt.expired or (attempt.limited and status.code == "DEADLINE_EXCEEDED"):
            attempt.expired = True
            status = Status(
                "DEADLINE_EXCEEDED", self._repeats.too_slow, status.initial, status.trailing
            )
        attempt.status = status
        if self.outcome is attempt:
            self._account(attempt, status)
            self._finish(status.code)
        elif status.code == "OK":
            self._account(attempt, status)
            self.rpc.succeeded()
            self._settle(attempt)
        elif attempt.expired or not self._repeatable or evidence_of(attempt) is Evidence.NONE:
            self._judge(attempt, status, now)
        else:
            if evidence_of(attempt) is Evidence.UNSENT:
                attempt.backend.last_error = status.details
            self._suspects.add(attempt)

    def connection_seen(self, attempt: Attempt[H, C], ready: bool, now: float) -> None:
        """The shell has looked at the connection of an attempt of `to_look`.

        Args:
            attempt: The attempt.
            ready: The connection that it was on is still there.
            now: The time.
        """
        unsent, status = self._suspects.seen(attempt, ready, now), attempt.status
        if unsent is None or status is None:
            return
        if unsent and self._repeatable:
            # It is made again at once, and counts for nothing.
            self.rpc.end(attempt, status.code, ours=True)
            self._repeats.note(attempt.backend.address, status)
            self._last = attempt
            self._owed += 1
        else:
            self._judge(attempt, status, now)

    def wake(self, now: float) -> None:
        """A time has come, perhaps that of `wake_at`."""
        if self.over:
            return
        for attempt in self.running:
            if attempt.expires_at is not None and attempt.expires_at <= now:
                # Its end comes by `ended`, as that of any other call.
                attempt.expires_at, attempt.expired = None, True
                self.to_cancel.append(attempt)
        if self.outcome is not None:
            return
        self._suspects.wake(now)
        at = self._resume_at
        if at is not None and (at <= now or self._overdue(now)):
            self._resume_at = None
            self._owed += 1

    def overflowed(self) -> None:
        """The requests are too many to be kept: no attempt but one that runs can be the RPC's.

        Of those that run the newest is kept, as it is the least likely to hang.
        """
        if self.outcome is None and self.running:
            self._start_no_more()
            self._give_up(self.running[:-1])

    def channel_closed(self) -> None:
        """The channel was closed: nothing is started any more. grpc ends what runs."""
        self._closed = True
        if self.outcome is None and not self.running:
            self._conclude(Status("CANCELLED", CHANNEL_CLOSED))
