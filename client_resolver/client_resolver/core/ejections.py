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
    """

    def __init__(self, config: OutlierDetection | None, rng: Random, log: EventLog) -> None:
        self._rng = rng
        self._log = log
        self._backends: dict[str, Backend[H]] = {}
        self._ejected: dict[str, Backend[H]] = {}
        self._config = config
        self._detector = None if config is None else Detector(config, rng)

    @property
    def on(self) -> bool:
        """Whether the ends of RPCs are wanted."""
        return self._config is not None and self._config.counts

    @property
    def wake_at(self) -> float | None:
        """When `sweep` is due. None: not at all."""
        return None if self._detector is None else self._detector.wake_at

    def __len__(self) -> int:
        return len(self._ejected)

    def configure(self, config: OutlierDetection | None, now: float) -> bool:
        """Go by another config from now on. Return whether who is ejected has changed."""
        if config == self._config:
            return False
        self._config = config
        if config is None:
            self._detector = None
        elif self._detector is None:
            self._detector = Detector(config, self._rng)
            self._detector.keep(self._backends)
        else:
            self._detector.configure(config)
        return self._mark(now)

    def keep(self, backends: Iterable[Backend[H]]) -> None:
        """Take in which backends may be picked. Any other is forgotten, and clean."""
        self._backends = {backend.address: backend for backend in backends}
        if self._detector is not None:
            self._detector.keep(self._backends)
        for address in [known for known in self._ejected if known not in self._backends]:
            self._ejected.pop(address).ejected_until = None

    def ended(self, backend: Backend[H], code: str, now: float) -> bool:
        """Take in how an RPC ended. Return whether who is ejected has changed.

        Args:
            backend: Where.
            code: The name of its gRPC status code.
            now: The time.
        """
        detector, config = self._detector, self._config
        if detector is None or config is None:
            return False
        ok = not config.is_error(code)
        return detector.ended(backend.address, ok, now) and self._mark(now)

    def sweep(self, now: float) -> bool:
        """Do what is due. Return whether who is ejected has changed."""
        return self._detector is not None and self._detector.sweep(now) and self._mark(now)

    def _mark(self, now: float) -> bool:
        detector = self._detector
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
