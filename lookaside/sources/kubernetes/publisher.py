"""Publishes a cluster's services to the store: versions, epochs, and graces for empty lists."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.grace import ListName, filled, keep, vanished
from lookaside.sources import Feed
from lookaside.sources.kubernetes.index import Batch
from lookaside.sources.kubernetes.timing import CallLater, Timer

EPOCH = "kubernetes"


class _Grace:
    """The grace of a list that has become empty.

    Args:
        seconds: How long.
        call_later: Schedules a call after a number of seconds.
        end: Called when it is over.
    """

    __slots__ = ("_end", "_timer", "over")

    def __init__(self, seconds: float, call_later: CallLater, end: Callable[[], None]) -> None:
        self.over = False
        self._end = end
        self._timer: Timer = call_later(seconds, self._ring)

    def cancel(self) -> None:
        """Let it not end."""
        self._timer.cancel()

    def _ring(self) -> None:
        self.over = True
        self._end()


_Graces = dict[ListName, _Grace]


class Publisher:
    """Puts records into a feed. Within one epoch no version ever goes back.

    A change has the version of the event that made it. The base, up to which the whole view holds,
    follows behind.

    A list that becomes empty keeps its endpoints for a short grace, but for those reported as
    unfit; so does a Service that is deleted. All else of the Service is published at once, under
    the version that it had, since the newer state has not reached the store. The base stands still
    meanwhile for the same reason.

    Args:
        feed: Where records are put.
        empty_grace: How long a list keeps its endpoints, in seconds.
        call_later: Schedules a call after a number of seconds.
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
        self._seconds = empty_grace
        self._call_later = call_later
        self._due = due
        self._known_base = 0
        self._touched: dict[ServiceKey, int] = {}
        self._sent: dict[ServiceKey, int] = {}
        self._told: dict[ServiceKey, ServiceRecord] = {}
        self._held: dict[ServiceKey, tuple[ServiceRecord | None, _Graces]] = {}
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
        whole: dict[ServiceKey, ServiceRecord | None] = dict.fromkeys(self._told)
        whole.update((record.key, record) for record in records)
        shown = {key: self._shown(key, record) for key, record in whole.items()}
        self._told = {key: record for key, record in shown.items() if record is not None}
        self._touched.clear()
        self._sent.clear()
        self._known_base = self.version = max(self.version, base)
        self.started = True
        self._feed.replace(list(self._told.values()), version=self.version, epoch=self.epoch, at=at)

    def update(
        self, batch: Batch, *, base: int, at: float, later: Collection[ServiceKey] = ()
    ) -> bool:
        """Publish what has changed or whose grace has ended, and how far everything holds.

        Args:
            batch: What has changed.
            base: The version up to which everything holds.
            at: When that was received, in seconds of the clock.
            later: The services whose newer state follows: their graces end with that.

        Returns:
            Whether any service was published.
        """
        self._known_base = max(self._known_base, base)
        for key in batch.changes:
            touched = max(self._touched.get(key, 0), batch.version(key), self.version)
            self._touched[key] = touched
        ended = {
            key: record
            for key, (record, graces) in self._held.items()
            if key not in later and any(grace.over for grace in graces.values())
        }
        groups: defaultdict[int, dict[ServiceKey, ServiceRecord | None]] = defaultdict(dict)
        for key, record in {**ended, **batch.changes}.items():
            told = self._told.get(key)
            shown = self._shown(key, record)
            version = max(self._touched.get(key, 0), self.version)
            if key in self._held:
                if told is not None and shown is not None and shown.serves_as(told):
                    continue
                version = max(self._sent.get(key, 0), self.version)
            groups[version][key] = shown
        for version in sorted(groups):
            self._emit(groups[version], version, at)
        if not self._held and self._known_base > self.version:
            self._advance()
        return bool(groups)

    def close(self) -> None:
        """Forget what is held back."""
        for _, graces in self._held.values():
            for grace in graces.values():
                grace.cancel()
        self._held.clear()

    def _shown(self, key: ServiceKey, record: ServiceRecord | None) -> ServiceRecord | None:
        """Return the state of a service to publish, and keep what is held back."""
        told = self._told.get(key)
        _, before = self._held.pop(key, (None, {}))
        graces = self._graces(told, record, before) if told is not None and self._seconds else {}
        for grace in set(before.values()) - set(graces.values()):
            grace.cancel()
        if told is None or not graces:
            return record
        self._held[key] = (record, graces)
        return told if record is None else keep(told, record, graces.keys())

    def _graces(
        self, told: ServiceRecord, record: ServiceRecord | None, before: _Graces
    ) -> _Graces:
        """Return the lists that are kept, and until when: those that were kept no longer."""
        names = filled(told) if record is None else vanished(told, record)
        new = names - before.keys()
        found = {name: before[name] for name in names - new}
        if new:
            found |= dict.fromkeys(new, _Grace(self._seconds, self._call_later, self._due))
        if record is None:
            # A Service that is gone is so as a whole, with the last of its lists.
            return {} if all(grace.over for grace in found.values()) else found
        return {name: grace for name, grace in found.items() if not grace.over}

    def _emit(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], version: int, at: float
    ) -> None:
        for key, record in changes.items():
            self._sent[key] = version
            if record is None:
                self._told.pop(key, None)
            else:
                self._told[key] = record
        self._feed.update(changes, version=version, at=at)

    def _advance(self) -> None:
        version = self.version = self._known_base
        self._touched = {key: at for key, at in self._touched.items() if at > version}
        self._sent = {key: at for key, at in self._sent.items() if at > version}
        self._feed.advance(version)
