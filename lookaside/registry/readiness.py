"""Whether the service may be sent requests: every source has synced and no shutdown has begun."""

from collections.abc import Callable, Iterable


class Readiness:
    """What is still to come before the service is ready, and whether it is on its way out.

    Args:
        sources: The names of the sources that are still to sync.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self.unsynced = dict.fromkeys(sources)
        self.draining = False
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
        for wake in list(self._wakes):
            wake()
