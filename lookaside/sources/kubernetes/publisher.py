"""Publishes a cluster's services to the store: versions, epochs, and graces for empty lists."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.grace import ListName, filled, keep, vanished
from lookaside.registry.steps import Steps, portions
from lookaside.sources import Feed
from lookaside.sources.kubernetes.index import Batch
from lookaside.sources.kubernetes.timing import CallLater, Timer

EPOCH = "kubernetes"

_PORTION = 100
"""Services that one step of a whole view takes."""


class _Grace:
    """The grace of lists that have become empty at the same time.

    Args:
        seconds: How long.
        call_later: Schedules a call after a number of seconds.
        end: Called with its services when it is over.
    """

    __slots__ = ("_end", "_timer", "keys", "over")

    def __init__(
        self, seconds: float, call_later: CallLater, end: Callable[[Collection[ServiceKey]], None]
    ) -> None:
        self.over = False
        self.keys: dict[ServiceKey, None] = {}
        self._end = end
        self._timer: Timer = call_later(seconds, self._ring)

    def leave(self, key: ServiceKey) -> None:
        """Remove a service; without any left, cancel the timer."""
        self.keys.pop(key, None)
        if not self.keys:
            self._timer.cancel()

    def _ring(self) -> None:
        self.over = True
        self._end(list(self.keys))


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
        due: Called with the services whose grace has ended: an `update` with them should follow.

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
        due: Callable[[Collection[ServiceKey]], None],
    ) -> None:
        self._feed = feed
        self._seconds = empty_grace
        self._call_later = call_later
        self._due = due
        self._known_base = 0
        self._touched: dict[ServiceKey, int] = {}
        self._sent: dict[ServiceKey, int] = {}
        self._told: dict[ServiceKey, ServiceRecord] = {}
        self._held: dict[ServiceKey, _Graces] = {}
        self.started = False
        self.version = 0
        self.epoch = EPOCH

    def begin_epoch(self, version: int) -> None:
        """Take versions as of another history, from this one on; a `replace` must follow."""
        self.version = 0
        self._known_base = 0
        self.epoch = f"{EPOCH}@{version}"

    def replacing(self, records: Iterable[ServiceRecord], *, base: int, at: float) -> Steps[None]:
        """Publish everything, in steps. An incomplete run can be repeated from the start.

        Args:
            records: All services.
            base: The version up to which they hold.
            at: When that was received, in seconds of the clock.
        """
        new: list[_Grace] = []
        told: dict[ServiceKey, ServiceRecord] = {}
        listed: set[ServiceKey] = set()
        for some in portions(records, _PORTION):
            for record in some:
                listed.add(record.key)
                told[record.key] = self._shown(record.key, record, new) or record
            yield 0
        for keys in portions(list(self._told), _PORTION):
            for key in keys:
                if key not in listed and (shown := self._shown(key, None, new)) is not None:
                    told[key] = shown
            yield 0
        version = max(self.version, base)
        yield from self._feed.replacing(
            list(told.values()), version=version, epoch=self.epoch, at=at
        )
        self._told = told
        self._touched, self._sent = {}, {}
        self._known_base = self.version = version
        self.started = True

    def update(self, batch: Batch, *, base: int, at: float) -> bool:
        """Publish what has changed or whose grace has ended, and how far everything holds.

        Args:
            batch: That.
            base: The version up to which everything holds.
            at: When that was received, in seconds of the clock.

        Returns:
            Whether any service was published.
        """
        self._known_base = max(self._known_base, base)
        new: list[_Grace] = []
        groups: defaultdict[int, dict[ServiceKey, ServiceRecord | None]] = defaultdict(dict)
        for key, record in batch.changes.items():
            self._touched[key] = max(self._touched.get(key, 0), batch.version(key), self.version)
            told = self._told.get(key)
            shown = self._shown(key, record, new)
            version = self._touched[key]
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
        for key in list(self._held):
            self._let_go(key, {})

    def _shown(
        self, key: ServiceKey, record: ServiceRecord | None, new: list[_Grace]
    ) -> ServiceRecord | None:
        """Return the state of a service to publish, and keep what is held back.

        Args:
            key: The service.
            record: What it is now; None: it is gone.
            new: The grace that this update has begun, if any: one for all its services.
        """
        told = self._told.get(key)
        graces: _Graces = {}
        if told is not None and self._seconds:
            graces = self._graces(key, told, record, new)
        self._let_go(key, graces)
        if told is None or not graces:
            return record
        self._held[key] = graces
        return told if record is None else keep(told, record, graces.keys())

    def _graces(
        self, key: ServiceKey, told: ServiceRecord, record: ServiceRecord | None, new: list[_Grace]
    ) -> _Graces:
        """Return the lists that are kept, and until when: those that were kept no longer."""
        before = self._held.get(key, {})
        names = filled(told) if record is None else vanished(told, record)
        found = {name: before[name] for name in names if name in before}
        if fresh := names - before.keys():
            if not new:
                new.append(_Grace(self._seconds, self._call_later, self._due))
            new[0].keys[key] = None
            found |= dict.fromkeys(fresh, new[0])
        if record is None:
            # A Service that is gone is so as a whole, with the last of its lists.
            return {} if all(grace.over for grace in found.values()) else found
        return {name: grace for name, grace in found.items() if not grace.over}

    def _let_go(self, key: ServiceKey, graces: _Graces) -> None:
        """End the graces of a service, except some that go on."""
        for grace in set(self._held.pop(key, {}).values()) - set(graces.values()):
            grace.leave(key)

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
