"""Marks the backends that outlier detection ejects, and tells of it."""

from collections.abc import Iterable
from random import Random
from typing import Generic, TypeVar

from client_resolver.core.backend import Backend
from client_resolver.core.events import Ejected, EventLog, Returned
from client_resolver.core.outlier import Detector, OutlierDetection

__all__ = ["Ejections"]

H = TypeVar("H")


class Ejections(Generic[H]):
    """Keeps `Backend.ejected_until` in step with a detector.

    Args:
        config: When backends are ejected. None: never.
        rng: Handed to the detector.
        log: Takes the events.

    Attributes:
        detector: What `Backend.host` of each backend belongs to. None: nobody is ejected.
    """

    def __init__(self, config: OutlierDetection | None, rng: Random, log: EventLog) -> None:
        self._rng = rng
        self._log = log
        self._backends: dict[str, Backend[H]] = {}
        self._ejected: dict[str, Backend[H]] = {}
        self._config = config
        self.detector = None if config is None else Detector(config, rng)

    @property
    def on(self) -> bool:
        """Whether the ends of RPCs are wanted."""
        return self._config is not None and self._config.counts

    @property
    def wake_at(self) -> float | None:
        """When `sweep` is due. None: not at all."""
        return None if self.detector is None else self.detector.wake_at

    def __len__(self) -> int:
        return len(self._ejected)

    def configure(self, config: OutlierDetection | None, now: float) -> bool:
        """Use another config from now on. Return whether the set of ejected backends changed."""
        if config == self._config:
            return False
        self._config = config
        if config is None:
            self.detector = None
        elif self.detector is None:
            self.detector = Detector(config, self._rng)
            self.detector.keep(self._backends)
        else:
            self.detector.configure(config)
        self._count()
        return self._mark(now)

    def keep(self, backends: Iterable[Backend[H]]) -> None:
        """The backends that may be picked changed. All others are forgotten, and start clean."""
        for backend in self._backends.values():
            backend.host = None
        self._backends = {backend.address: backend for backend in backends}
        if self.detector is not None:
            self.detector.keep(self._backends)
        self._count()
        for address in [known for known in self._ejected if known not in self._backends]:
            self._ejected.pop(address).ejected_until = None

    def ended(self, backend: Backend[H], code: str, now: float) -> bool:
        """An RPC ended. Return whether who is ejected has changed.

        Args:
            backend: Where.
            code: The name of its gRPC status code.
            now: The time.
        """
        detector, config = self.detector, self._config
        if detector is None or config is None:
            return False
        ok = not config.is_error(code)
        return detector.ended(backend.address, ok, now) and self._mark(now)

    def sweep(self, now: float) -> bool:
        """Do what is due. Return whether who is ejected has changed."""
        return self.detector is not None and self.detector.sweep(now) and self._mark(now)

    def _count(self) -> None:
        """Have the successes of each backend counted, where anything is counted at all."""
        detector = self.detector if self.on else None
        for address, backend in self._backends.items():
            backend.host = None if detector is None else detector.host(address)

    def _mark(self, now: float) -> bool:
        detector = self.detector
        ends = {} if detector is None else detector.ejections()
        back = [address for address in self._ejected if address not in ends]
        for address in back:
            self._ejected.pop(address).ejected_until = None
            if self._log.on:
                self._log.add(Returned(address))
        changed = bool(back)
        for address, until in ends.items():
            backend = self._backends[address]
            backend.ejected_until = until
            if address not in self._ejected:
                changed = True
                self._ejected[address] = backend
                if self._log.on and detector is not None:
                    self._log.add(Ejected(address, until - now, detector.reason(address)))
        return changed
