"""Weights from the backends' own load reports, for `weighted_round_robin` (gRFC A58)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.fields import duration, number
from client_resolver.core.picker import Candidate, Picker

__all__ = ["History", "MeasuredPicker", "MeasuredWeights"]

C = TypeVar("C", bound=Candidate)

_STEPS = 2**16 - 1
"""Scale of the largest weight: the picker's weights are whole numbers."""


@dataclass(frozen=True, slots=True)
class History:
    """The measurements from one backend's reports.

    Attributes:
        weight: By its latest report that told any.
        latest: When that came, in seconds.
        since: When the first of an unbroken series came, in seconds.
    """

    weight: float
    latest: float
    since: float


@dataclass(frozen=True, slots=True)
class MeasuredWeights:
    """The parameters by which load reports become weights.

    Attributes:
        blackout_period: For how long after a backend's first report it is not believed yet, in
            seconds: a backend that has just started looks idler than it is.
        expiration_period: For how long a report holds, in seconds.
        update_period: How often the weights are worked out, in seconds.
        error_penalty: What an error rate of 1 adds to a backend's utilization.
    """

    blackout_period: float = 10.0
    expiration_period: float = 180.0
    update_period: float = 1.0
    error_penalty: float = 1.0

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "MeasuredWeights":
        """Read the fields of gRFC A58. An update period below 0.1 s is taken for 0.1 s.

        Raises:
            ValueError: One can't be used.
        """
        return cls(
            blackout_period=duration(config, "blackoutPeriod", 10.0),
            expiration_period=duration(config, "weightExpirationPeriod", 180.0),
            update_period=max(0.1, duration(config, "weightUpdatePeriod", 1.0)),
            error_penalty=number(config, "errorUtilizationPenalty", 1.0, low=0),
        )

    def take_in(
        self, backends: Sequence[Candidate], known: Mapping[str, History]
    ) -> dict[str, History]:
        """Return the histories of these backends, by address, with their latest reports.

        Args:
            backends: The backends. One that is missing is forgotten: if it comes back, it is new.
            known: The histories so far.
        """
        histories = {}
        for backend in backends:
            history = self._after(backend, known.get(backend.address))
            if history is not None:
                histories[backend.address] = history
        return histories

    def weights(
        self, backends: Sequence[Candidate], histories: Mapping[str, History], now: float
    ) -> list[int]:
        """Work out the weights, the average for backends that are not known well enough.

        With fewer than two that are, all are equal.
        """
        found = [self._current(histories.get(backend.address), now) for backend in backends]
        usable = [weight for weight in found if weight > 0]
        if len(usable) < 2:
            return [1] * len(backends)
        average = sum(usable) / len(usable)
        scale = _STEPS / max(usable)
        return [max(1, round((weight or average) * scale)) for weight in found]

    def _after(self, backend: Candidate, known: History | None) -> History | None:
        report = backend.load
        if report is None or (known is not None and report.received <= known.latest):
            return known
        weight = report.weight(self.error_penalty)
        if not weight > 0:
            return known
        expired = known is None or report.received - known.latest >= self.expiration_period
        since = report.received if known is None or expired else known.since
        return History(weight, report.received, since)

    def _current(self, history: History | None, now: float) -> float:
        if history is None or now - history.latest >= self.expiration_period:
            return 0.0
        return history.weight if now - history.since >= self.blackout_period else 0.0


class MeasuredPicker(Generic[C]):
    """A picker by measured weights, with the histories for the next one.

    Attributes:
        inner: What picks.
        histories: What the weights were worked out from, by address.
        pick: See `Picker.pick`.
    """

    concurrent: ClassVar[bool] = True

    __slots__ = ("histories", "inner", "pick")

    pick: Callable[..., C]

    def __init__(self, inner: Picker[C], histories: Mapping[str, History]) -> None:
        self.inner = inner
        self.histories = histories
        self.pick = inner.pick

    def __repr__(self) -> str:
        return f"<MeasuredPicker over {self.inner!r}, {len(self.histories)} with reports>"
