"""What may follow the first attempt of an RPC: retries, hedges, and how they count (gRFC A6)."""

from collections.abc import Callable
from random import Random

from client_resolver.call.attempt import Status
from client_resolver.config.method_config import MethodConfig
from client_resolver.core.breaker import Breaker
from client_resolver.core.hedging import HedgeState, Verdict
from client_resolver.core.model import Failure
from client_resolver.core.retry import Retries, Throttle, pushback_in
from client_resolver.core.slots import Slot

__all__ = ["Repeats"]


class Repeats:
    """The attempts of one RPC after its first, by its policy, the throttle and the breaker.

    Args:
        config: What the service config says of the method.
        breaker: The channel's.
        throttle: The channel's.
        rng: The source of the jitter.
        now: The clock.

    Attributes:
        retries: Decides over failed attempts. None: there is no retry policy.
        hedges: Decides over attempts side by side. None: there is no hedging policy.
    """

    __slots__ = ("_breaker", "_config", "_failures", "_now", "_slots", "hedges", "retries")

    def __init__(
        self,
        config: MethodConfig,
        breaker: Breaker,
        throttle: Throttle,
        rng: Random,
        now: Callable[[], float],
    ) -> None:
        self._config = config
        self._breaker = breaker
        self._now = now
        self.retries = None if config.retry is None else Retries(config.retry, throttle, rng)
        self.hedges = None if config.hedging is None else HedgeState(config.hedging, throttle)
        self._failures: list[str] = []
        # Of the breaker. Whatever ends the RPC, its counts end with it.
        self._slots: list[Slot] = []

    @property
    def previous(self) -> int:
        """The number of attempts before the newest that a server may have processed."""
        counts = self.retries or self.hedges
        return 0 if counts is None else counts.attempts - 1

    @property
    def before(self) -> str:
        """What an error's text ends with: what was tried, and how that failed."""
        return f"; tried before: {'; '.join(self._failures)}" if self._failures else ""

    @property
    def too_slow(self) -> str:
        """What is said of an attempt that was given up after the policy's time for one."""
        retry = self._config.retry
        limit = None if retry is None else retry.per_attempt_timeout
        return f"no response within the {limit} s of an attempt"

    def again(self, address: str, status: Status, *, expired: bool = False) -> float | None:
        """Decide over an attempt that failed before anything of it reached the application.

        Args:
            address: The backend that it was sent to.
            status: How it ended.
            expired: It was given up after the policy's time for an attempt.

        Returns:
            Seconds until the next attempt. None: the RPC ends as this attempt did.
        """
        if self.retries is None:
            return None
        self._count_out()
        if expired:
            delay = self.retries.timed_out()
        else:
            delay = self.retries.failed(status.code, pushback_in(status.trailing))
        if delay is None or not self._count_in():
            return None
        self.note(address, status)
        return delay

    def hedge(self, now: float) -> bool:
        """Whether another attempt may be started beside those that run. If so, it counts."""
        hedges = self.hedges
        if hedges is None or not hedges.due(now):
            return False
        if hedges.attempts and not self._count_in():
            hedges.stop()
            return False
        granted = hedges.start(now)
        if not granted:
            self._count_out()
        return granted

    def hedge_failed(self, address: str, status: Status) -> Verdict:
        """Decide over the failure of one of the attempts that run side by side."""
        hedges = self.hedges
        assert hedges is not None  # noqa: S101
        verdict = hedges.failed(status.code, pushback_in(status.trailing), self._now())
        if len(self._slots) > hedges.running:
            self._count_out()
        if verdict is not Verdict.FINAL:
            self.note(address, status)
        return verdict

    def note(self, address: str, status: Status) -> None:
        """Keep how an attempt failed that another one follows, for the texts of errors."""
        self._failures.append(f"{address} ({status.code}: {status.details})")

    def succeeded(self) -> None:
        """The RPC has its response, or the first of its responses."""
        counts = self.retries or self.hedges
        if counts is not None:
            counts.succeeded()

    def finish(self) -> None:
        """The RPC has ended."""
        while self._slots:
            self._count_out()

    def _count_in(self) -> bool:
        begun = self._breaker.begin_retry()
        if isinstance(begun, Failure):
            return False
        self._slots.append(begun)
        return True

    def _count_out(self) -> None:
        if self._slots:
            self._slots.pop().give_back()
