"""`peak_ewma`: of two backends drawn at random, the one that is likely to answer sooner.

After Finagle's load metric of that name, which linkerd uses too. A backend's cost is its expected
latency times the RPCs that it would then carry. The expected latency is a moving average that jumps
up to a latency that is above it at once, and otherwise fades with time: what was slow is tried
again after `decay * ln(slow / others)` seconds.

A failure says nothing of how soon a backend answers, so it never lowers the average; and it costs
the backend a turn: see `client_resolver.core.pickers.penalties`.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.fields import duration
from client_resolver.core.guard import Lock
from client_resolver.core.picker import BasePolicy, Candidate, Picker, untried
from client_resolver.core.pickers.penalties import Penalties
from client_resolver.core.pickers.sampling import sampler

__all__ = ["Latency", "PeakEwma", "PeakEwmaPicker"]

C = TypeVar("C", bound=Candidate)

_UNKNOWN = 1e9
"""The latency of a busy backend that has not answered yet, in seconds: more than any other's."""

_REDRAWS = 8
"""Maximum number of draws for a second backend that differs from the first."""


class Latency:
    """The expected latency of one backend. Shared by the pickers that follow on each other.

    Any thread may call it at any time, also one that has interrupted another call of it.

    Attributes:
        seconds: The average at `at`. 0: nothing is known.
        at: When it was worked out, in seconds.
    """

    __slots__ = ("_lock", "_noted", "at", "seconds")

    def __init__(self, now: float) -> None:
        self.seconds = 0.0
        self.at = now
        self._noted: deque[tuple[float, float]] = deque()
        self._lock = Lock()

    def faded(self, now: float, decay: float) -> float:
        """Return what is left of the average now."""
        return self.seconds * exp((self.at - now) / decay) if now > self.at else self.seconds

    def observe(self, seconds: float, now: float, decay: float) -> None:
        """Add a latency to the average."""
        # Noted first, by one step of C: the holder of the lock, on this thread or on another, adds
        # this one as well, so that nobody waits. It looks again after releasing the lock.
        self._noted.append((seconds, now))
        while self._noted:
            if self._lock.locked():
                return
            with self._lock:
                while self._noted:
                    self._add(*self._noted.popleft(), decay)

    def _add(self, seconds: float, now: float, decay: float) -> None:
        kept = exp((self.at - now) / decay) if now > self.at else 1.0
        average = self.seconds * kept
        self.seconds = max(seconds, average + seconds * (1.0 - kept))
        self.at = max(self.at, now)


class PeakEwmaPicker(Generic[C]):
    """Draws two backends by weight and takes the one of the lower cost.

    A backend without measurements costs nothing while it is idle and more than all others
    while it carries an RPC: it gets one, and no second before its first answer.

    Attributes:
        latencies: What is known of each backend.
        penalties: Which backends sit out for RPCs that failed on them.
    """

    concurrent: ClassVar[bool] = True

    __slots__ = (
        "_backends",
        "_decay",
        "_draw",
        "_now",
        "_penalty",
        "_rng",
        "latencies",
        "penalties",
    )

    def __init__(
        self,
        backends: Sequence[C],
        rng: Random,
        now: Callable[[], float],
        policy: "PeakEwma",
        before: "PeakEwmaPicker[C] | None",
    ) -> None:
        self._backends = tuple(backends)
        self._draw = sampler(self._backends, rng)
        self._rng = rng
        self._now = now
        self._decay = policy.decay
        self._penalty = policy.failure_penalty
        start = now()
        known: Mapping[object, Latency] = {} if before is None else before.latencies
        self.penalties: Penalties[C]
        self.penalties = Penalties(backends, None if before is None else before.penalties)
        self.latencies: dict[object, Latency] = {
            backend: known.get(backend) or Latency(start) for backend in backends
        }

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        draw = self._draw
        if tried:
            draw = sampler(untried(self._backends, tried), self._rng)
        one, other = draw(), draw()
        for _ in range(_REDRAWS):
            if other is not one:
                break
            other = draw()
        now = self._now()
        if self.penalties.left:
            return self.penalties.pick((one, other), lambda backend: self._cost(backend, now))
        return other if self._cost(other, now) < self._cost(one, now) else one

    def ended(self, backend: Candidate, seconds: float, ok: bool) -> None:
        """See `Reporting.ended`."""
        latency = self.latencies.get(backend)
        if latency is not None and ok:
            latency.observe(seconds, self._now(), self._decay)

    def failed(self, backend: Candidate, seconds: float, *, overload: bool) -> None:
        """See `CountingFailures.failed`. Overload counts as an answer after `failurePenalty`."""
        latency = self.latencies.get(backend)
        if latency is None:
            return
        now = self._now()
        seconds = max(seconds, self._penalty) if overload else seconds
        if seconds > latency.faded(now, self._decay):
            latency.observe(seconds, now, self._decay)
        self.penalties.failed(backend, seconds, overload=overload)

    def _cost(self, backend: C, now: float) -> float:
        carried = len(backend.in_flight)
        latency = self.latencies[backend]
        if latency.seconds == 0.0:
            return carried * _UNKNOWN
        return latency.faded(now, self._decay) * (carried + 1)

    def __repr__(self) -> str:
        known = sum(latency.seconds > 0 for latency in self.latencies.values())
        return f"<PeakEwmaPicker of {len(self._backends)} backends, {known} known>"


@dataclass(frozen=True)
class PeakEwma(BasePolicy):
    """The policy `peak_ewma`.

    Attributes:
        decay: How soon a latency is forgotten, in seconds: 1/e of it is left after that time.
        failure_penalty: What an RPC counts as at least, in seconds, whose failure shows overload.
    """

    name: ClassVar[str] = "peak_ewma"
    measured: ClassVar[bool] = True
    counts_failures: ClassVar[bool] = True
    decay: float = 10.0
    failure_penalty: float = 1.0

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "PeakEwma":
        """Make the policy from its config: `decay` and `failurePenalty`.

        Raises:
            ValueError: A field can't be used.
        """
        return cls(
            decay=duration(config, "decay", 10.0, above=0),
            failure_penalty=duration(config, "failurePenalty", 1.0),
        )

    def build(
        self,
        backends: Sequence[C],
        rng: Random,
        now: Callable[[], float],
        before: Picker[C] | None,
    ) -> Picker[C]:
        """See `Policy.build`. What is known of the backends' latencies and failures is kept."""
        known = before if isinstance(before, PeakEwmaPicker) else None
        return PeakEwmaPicker(backends, rng, now, self, known)
