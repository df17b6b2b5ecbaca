"""Whether the service may be sent requests: every source has synced and no shutdown has begun."""

from collections.abc import Callable, Iterable

from lookaside.registry.steps import WAKES, AtOnce, Steps, Worker, chunks


class Readiness:
    """The readiness of the service: what is still missing, and whether it is shutting down.

    Args:
        sources: The names of the sources that are still to sync.
        worker: Calls those who wait, some at a time; None: all at once.
    """

    def __init__(self, sources: Iterable[str], worker: Worker | None = None) -> None:
        self.unsynced = dict.fromkeys(sources)
        self.draining = False
        self._worker = worker or AtOnce()
        self._wakes: dict[Callable[[], None], None] = {}

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""
        return not self.unsynced and not self.draining

    def synced(self, source: str) -> None:
        """Say that a source's first list has come."""
        self.unsynced.pop(source, None)
        self._wake()

    def drain(self) -> None:
        """Say that the service shuts down."""
        self.draining = True
        self._wake()

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have a function called after every change; returns what ends that."""
        self._wakes[wake] = None
        return lambda: self._wakes.pop(wake, None)

    def _wake(self) -> None:
        self._worker.ask(self, self._waking, rests=False)

    def _waking(self) -> Steps[None]:
        for some in chunks(list(self._wakes), WAKES):
            for wake in some:
                if wake in self._wakes:
                    wake()
            yield len(some)
