"""From what a cluster holds to what the store is told: versions, epochs, and no empty flash."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.sources import Feed
from lookaside.sources.kubernetes.index import Batch
from lookaside.sources.kubernetes.timing import CallLater, Timer

EPOCH = "kubernetes"


class Publisher:
    """Puts records into a feed. Within one epoch no version ever goes back.

    A change has the version of the event that made it. The base, up to which the whole view holds,
    follows behind.

    A service that loses the last of its slices, but not the last of its endpoints in a slice that
    stays, keeps its endpoints for a short grace: slices are at times deleted and made anew. The
    base stands still meanwhile, because what is held back has not reached the store.

    Args:
        feed: Where records are put.
        empty_grace: How long such a service keeps its endpoints, in seconds.
        call_later: Arranges a call after so many seconds.
        due: Called when a grace has ended: an `update` should follow.

    Attributes:
        started: Whether a whole view has been published.
        version: The base.
        epoch: The span of time within which versions may be compared.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        empty_grace: float,
        call_later: CallLater,
        due: Callable[[], None],
    ) -> None:
        self._feed = feed
        self._grace = empty_grace
        self._call_later = call_later
        self._due = due
        self._known_base = 0
        self._touched: dict[ServiceKey, int] = {}
        self._nonempty: set[ServiceKey] = set()
        self._held: dict[ServiceKey, tuple[ServiceRecord | None, Timer]] = {}
        self._ended: set[ServiceKey] = set()
        self.started = False
        self.version = 0
        self.epoch = EPOCH

    def begin_epoch(self, version: int) -> None:
        """Take versions as of another history, from this one on; a `replace` must follow."""
        self.version = 0
        self._known_base = 0
        self.epoch = f"{EPOCH}@{version}"

    def replace(self, records: Iterable[ServiceRecord], *, base: int, at: float) -> None:
        """Publish everything.

        Args:
            records: All services.
            base: The version up to which they hold.
            at: When that was received, in seconds of the clock.
        """
        self.close()
        records = list(records)
        self._touched.clear()
        self._nonempty = {record.key for record in records if has_endpoints(record)}
        self._known_base = self.version = max(self.version, base)
        self.started = True
        self._feed.replace(records, version=self.version, epoch=self.epoch, at=at)

    def update(self, batch: Batch, *, base: int, at: float) -> bool:
        """Publish what has changed or whose grace has ended, and how far everything holds.

        Args:
            batch: What has changed.
            base: The version up to which everything holds.
            at: When that was received, in seconds of the clock.

        Returns:
            Whether any service was published.
        """
        self._known_base = max(self._known_base, base)
        now: dict[ServiceKey, ServiceRecord | None] = {}
        for key, record in batch.changes.items():
            touched = max(self._touched.get(key, 0), batch.version(key), self.version)
            self._touched[key] = touched
            _, timer = self._held.pop(key, (None, None))
            lost = timer is not None or key in batch.lost
            if lost and key not in self._ended and self._may_come_back(key, record):
                timer = timer or self._call_later(self._grace, partial(self._end, key))
                self._held[key] = (record, timer)
                continue
            if timer is not None:
                timer.cancel()
            now[key] = record
        for key in self._ended & self._held.keys():
            now[key], _ = self._held.pop(key)
        self._ended.clear()
        self._emit(now, at)
        return bool(now)

    def close(self) -> None:
        """Forget what is held back."""
        for _, timer in self._held.values():
            timer.cancel()
        self._held.clear()
        self._ended.clear()

    def _may_come_back(self, key: ServiceKey, record: ServiceRecord | None) -> bool:
        return (
            self._grace > 0
            and key in self._nonempty
            and record is not None
            and not has_endpoints(record)
        )

    def _end(self, key: ServiceKey) -> None:
        self._ended.add(key)
        self._due()

    def _emit(self, changes: Mapping[ServiceKey, ServiceRecord | None], at: float) -> None:
        groups: defaultdict[int, dict[ServiceKey, ServiceRecord | None]] = defaultdict(dict)
        for key, record in changes.items():
            groups[self._touched[key]][key] = record
            if record is not None and has_endpoints(record):
                self._nonempty.add(key)
            else:
                self._nonempty.discard(key)
        for version in sorted(groups):
            self._feed.update(groups[version], version=version, at=at)
        if not self._held and self._known_base > self.version:
            self.version = self._known_base
            self._touched = {key: at for key, at in self._touched.items() if at > self.version}
            self._feed.advance(self.version)


def has_endpoints(record: ServiceRecord) -> bool:
    """Say whether any port of a service has an endpoint."""
    return any(record.endpoints.values())
