"""From what a cluster holds to what the store is told: versions, epochs, and no empty flash."""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Protocol

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.sources import Feed

EPOCH = "kubernetes"

Changes = dict[ServiceKey, ServiceRecord | None]


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Publisher:
    """Puts records into a feed. Within one epoch its versions never go back.

    A service that loses the last of its slices, but not the last of its endpoints in a slice that
    stays, keeps its endpoints for a short grace: slices are at times deleted and made anew. The
    version stands still meanwhile, because what is held back has not reached the store.

    Args:
        feed: Where records are put.
        empty_grace: How long such a service keeps its endpoints, in seconds.
        clock: The monotonic clock, in seconds.
        call_later: Arranges a call after so many seconds.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        empty_grace: float,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        self._feed = feed
        self._grace = empty_grace
        self._clock = clock
        self._call_later = call_later
        self._known_version = 0
        self._nonempty: set[ServiceKey] = set()
        self._held: dict[ServiceKey, tuple[ServiceRecord | None, Timer]] = {}
        self.started = False
        self.version = 0
        self.epoch = EPOCH

    def begin_epoch(self, version: int) -> None:
        """Take versions as of another history, from this one on; a `replace` must follow."""
        self.version = 0
        self._known_version = 0
        self.epoch = f"{EPOCH}@{version}"

    def replace(self, records: Iterable[ServiceRecord], *, version: int, at: float) -> None:
        """Publish everything.

        Args:
            records: All services.
            version: The version up to which they hold.
            at: When that was received, in seconds of the clock.
        """
        self.close()
        records = list(records)
        self._nonempty = {record.key for record in records if has_endpoints(record)}
        self._known_version = self.version = max(self.version, version)
        self.started = True
        self._feed.replace(records, version=self.version, epoch=self.epoch, at=at)

    def update(
        self, changes: Changes, *, version: int, at: float, lost: Collection[ServiceKey] = ()
    ) -> None:
        """Publish what has changed, or only how far everything holds.

        Args:
            changes: The services that changed, as they are now.
            version: The version up to which everything holds.
            at: When that was received, in seconds of the clock.
            lost: The services of which slices were deleted.
        """
        self._known_version = max(self._known_version, version)
        now: Changes = {}
        for key, record in changes.items():
            _, timer = self._held.pop(key, (None, None))
            if self._may_come_back(key, record, lost=timer is not None or key in lost):
                timer = timer or self._call_later(self._grace, partial(self._let_go, key))
                self._held[key] = (record, timer)
                continue
            if timer is not None:
                timer.cancel()
            now[key] = record
        self._emit(now, at)

    def close(self) -> None:
        """Forget what is held back."""
        for _, timer in self._held.values():
            timer.cancel()
        self._held.clear()

    def _may_come_back(self, key: ServiceKey, record: ServiceRecord | None, *, lost: bool) -> bool:
        return (
            lost
            and self._grace > 0
            and key in self._nonempty
            and record is not None
            and not has_endpoints(record)
        )

    def _let_go(self, key: ServiceKey) -> None:
        record, _ = self._held.pop(key)
        self._emit({key: record}, self._clock())

    def _emit(self, changes: Changes, at: float) -> None:
        for key, record in changes.items():
            if record is not None and has_endpoints(record):
                self._nonempty.add(key)
            else:
                self._nonempty.discard(key)
        version = self.version if self._held else self._known_version
        moved, self.version = version != self.version, version
        if changes:
            self._feed.update(changes, version=version, at=at)
        elif moved:
            self._feed.advance(version)


def has_endpoints(record: ServiceRecord) -> bool:
    """Say whether any port of a service has an endpoint."""
    return any(record.endpoints.values())
