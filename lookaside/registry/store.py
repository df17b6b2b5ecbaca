"""The versioned store: what every source knows, and who watches it.

Each port of a service has one immutable snapshot for each kind of client that must tell them apart:
in general one. It is encoded once and sent to every watcher as those bytes. A watcher has one slot
that holds the newest state alone, so a slow reader costs what a fast one does and stalls nobody.

Where two sources know a service, the one that was named first has it.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from lookaside.errors import NotSynced, RequestError, ServiceNotFound
from lookaside.model import (
    Explanation,
    ServiceKey,
    ServiceName,
    ServiceRecord,
    Snapshot,
    State,
)
from lookaside.policy.view import WHOLE, View
from lookaside.registry.explain import explain
from lookaside.registry.feed import SourceFeed
from lookaside.registry.published import Encoder, Published
from lookaside.registry.shelf import Shelf
from lookaside.registry.snapshots import absent, present, resolve_port
from lookaside.registry.subscription import Fanout, Subscription

_HISTORY = 8


class StoreObserver(Protocol):
    """What the store tells of itself, for metrics."""

    def services(self, source: str, count: int, endpoints: int) -> None:
        """A source's view changed: it has so many services and endpoints now."""

    def source_stale(self, source: str, stale: bool) -> None:
        """A source's view may be out of date for longer than is tolerated, or no longer may."""

    def superseded(self) -> None:
        """A watcher's slot was overwritten before it was read."""

    def propagated(self, seconds: float) -> None:
        """The last of a change's watchers was written to, so long after the change came in."""


class _Topic:
    """The watchers of one name with one view, and what they were told last.

    Attributes:
        last: What they were told last.
        watchers: The watchers, in the order in which they came.
    """

    __slots__ = ("_history", "last", "watchers")

    def __init__(self, last: Published | RequestError) -> None:
        self.last = last
        self.watchers: dict[Subscription, None] = {}
        self._history: deque[Snapshot] = deque(maxlen=_HISTORY)

    def move(self, outcome: Published | RequestError) -> bool:
        """Go on to a new outcome; False if it is what was told last."""
        if _same(outcome, self.last):
            return False
        if isinstance(self.last, Published):
            self._history.append(self.last.snapshot)
        self.last = outcome
        return True

    def known(self, digest: str) -> Snapshot | None:
        """Return an earlier list of this topic."""
        return next((one for one in self._history if one.revision.digest == digest), None)


class Store:
    """All that is known, and all that watch it. For one thread.

    Args:
        sources: The names of the sources, the one that wins first.
        encoder: Gives snapshots their wire form.
        observer: Is told of changes and deliveries.
        clock: The monotonic clock of the sources' events, in seconds.
        synced: Called whenever a source's first list has come.

    Attributes:
        feeds: Where each source puts what it knows, by the source's name.
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        encoder: Encoder,
        observer: StoreObserver,
        clock: Callable[[], float],
        synced: Callable[[str], None],
    ) -> None:
        self.feeds = {source: self._feed(source) for source in sources}
        self._encoder = encoder
        self._observer = observer
        self._clock = clock
        self._synced = synced
        self._shelves: dict[ServiceKey, dict[str, Shelf]] = {}
        self._topics: dict[ServiceKey, dict[tuple[str, View], _Topic]] = {}

    @property
    def unsynced(self) -> list[str]:
        """The sources whose first list is still to come."""
        return [feed.source for feed in self.feeds.values() if not feed.synced]

    @property
    def watchers(self) -> int:
        """How many subscriptions are open."""
        return sum(
            len(topic.watchers) for ports in self._topics.values() for topic in ports.values()
        )

    @property
    def lists(self) -> int:
        """How many snapshots are kept ready to be sent."""
        return sum(len(shelf) for ports in self._shelves.values() for shelf in ports.values())

    def get(self, name: ServiceName, view: View = WHOLE) -> Published:
        """Return the list of a service as it is now.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        published = self._publish(name, view)
        _require_known(published.snapshot)
        return published

    def explain(self, name: ServiceName, view: View = WHOLE) -> tuple[Snapshot, Explanation]:
        """Return the list of a service as it is now, and why it is so.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        feed, record = self._lookup(name.key)
        if feed is None or record is None:
            snapshot = self._absent(name)
            _require_known(snapshot)
            return snapshot, Explanation(())
        name = resolve_port(name, record, aliases=True)
        explained = explain(name, record, view)
        if feed.trouble:
            # It says so long before its lists are called stale.
            note = f"what {feed.source} knows can't be confirmed just now: {feed.trouble}"
            explained = msgspec.structs.replace(explained, notes=(*explained.notes, note))
        return self._snapshot(name, feed, record, view), explained

    def subscribe(
        self,
        name: ServiceName,
        wake: Callable[[], None],
        *,
        view: View = WHOLE,
        known: str = "",
        deltas: bool = False,
    ) -> Subscription:
        """Watch a name. Its slot is filled at once, and again after every change.

        Args:
            name: What to watch; a service that does not exist may yet appear.
            wake: Called whenever the slot has been filled.
            view: Who watches.
            known: The digest of the list that the watcher holds. While that is the list, the slot
                stays empty.
            deltas: Whether the watcher takes deltas.

        Raises:
            RequestError: The name can't be answered.
        """
        published = self._publish(name, view)
        topic = self._topics.setdefault(name.key, {}).setdefault(
            (name.port, view), _Topic(published)
        )
        subscription = Subscription(
            name,
            view,
            deltas=deltas,
            wake=wake,
            leave=self._leave,
            superseded=self._observer.superseded,
        )
        topic.watchers[subscription] = None
        same = known == published.digest
        base = published.snapshot if same else topic.known(known)
        if base is not None:
            subscription.hold(base)
        if not same:
            subscription.offer(published)
        return subscription

    def snapshots(self, namespace: str = "") -> list[Snapshot]:
        """Return every port of every service, those of ExternalName services left out.

        Args:
            namespace: Only services of this one; "" for all of which anything is known.

        Raises:
            NotSynced: A source's first list is still to come, or that of the namespace.
        """
        if self.unsynced:
            raise self._not_synced()
        missing: set[str] = set()
        for source in self.feeds.values():
            if namespace in source.missing:
                raise _missing(source, namespace)
            missing.update(source.missing)
        keys = {
            key
            for source in self.feeds.values()
            for key in source.records
            if key.namespace not in missing
        }
        found = []
        for key in sorted(key for key in keys if namespace in ("", key.namespace)):
            feed, record = self._lookup(key)
            if feed is not None and record is not None and not record.external_name:
                ports = [port.name for port in record.ports] or [""]
                found += [self._snapshot(ServiceName(key, port), feed, record) for port in ports]
        return found

    def _feed(self, source: str) -> SourceFeed:
        def changed(keys: list[ServiceKey], at: float) -> None:
            self._observer.services(source, len(feed.records), feed.endpoints)
            self._changed_all(keys, at)

        def turned(stale: bool) -> None:
            self._observer.source_stale(source, stale)
            self._turned_stale()

        feed = SourceFeed(
            source, changed=changed, turned_stale=turned, synced=lambda: self._synced(source)
        )
        return feed

    def _lookup(self, key: ServiceKey) -> tuple[SourceFeed, ServiceRecord] | tuple[None, None]:
        """Find the source that has a service.

        Raises:
            NotSynced: A source that would come first has not been heard yet.
        """
        for feed in self.feeds.values():
            if not feed.synced:
                raise self._not_synced()
            if key.namespace in feed.missing:
                raise _missing(feed, key.namespace)
            record = feed.records.get(key)
            if record is not None:
                return feed, record
        return None, None

    def _not_synced(self) -> NotSynced:
        unsynced = [feed for feed in self.feeds.values() if not feed.synced]
        causes = "; ".join(feed.trouble for feed in unsynced if feed.trouble)
        text = f"the first list of {', '.join(feed.source for feed in unsynced)} is still to come"
        return NotSynced(f"{text}: {causes}" if causes else text)

    def _publish(self, name: ServiceName, view: View) -> Published:
        """Return a client's list and its bytes, the very same ones while nothing has changed."""
        feed, record = self._lookup(name.key)
        if feed is None or record is None:
            return Published(self._absent(name), self._encoder)
        name = resolve_port(name, record)
        shelves = self._shelves.setdefault(name.key, {})
        if name.port not in shelves:
            shelves[name.port] = Shelf(name, record, feed, self._encoder)
        return shelves[name.port].publish(view)

    def _absent(self, name: ServiceName) -> Snapshot:
        return absent(name, self.feeds.values())

    def _snapshot(
        self, name: ServiceName, feed: SourceFeed, record: ServiceRecord, view: View = WHOLE
    ) -> Snapshot:
        return present(name, record, view.narrowed(record.port_list(name.port)), feed)

    def _changed_all(self, keys: Collection[ServiceKey], at: float) -> None:
        """Have every service's watchers told, and only then raise what one of them raised."""
        failure: Exception | None = None
        for key in keys:
            try:
                self._changed(key, at)
            except Exception as error:  # noqa: BLE001 (raised once the others are told)
                failure = failure or error
        if failure is not None:
            raise failure

    def _changed(self, key: ServiceKey, at: float) -> None:
        self._shelves.pop(key, None)
        for (port, view), topic in list(self._topics.get(key, {}).items()):
            if not topic.move(self._outcome(ServiceName(key, port), view)):
                continue
            fanout = Fanout(
                len(topic.watchers), lambda: self._observer.propagated(self._clock() - at)
            )
            for subscription in list(topic.watchers):
                subscription.offer(topic.last, fanout)

    def _outcome(self, name: ServiceName, view: View) -> Published | RequestError:
        try:
            return self._publish(name, view)
        except RequestError as error:
            return error

    def _turned_stale(self) -> None:
        self._shelves.clear()
        self._changed_all(list(self._topics), self._clock())

    def _leave(self, subscription: Subscription) -> None:
        key, topic = subscription.name.key, (subscription.name.port, subscription.view)
        topics = self._topics[key]
        del topics[topic].watchers[subscription]
        if not topics[topic].watchers:
            del topics[topic]
        if not topics:
            del self._topics[key]


def _require_known(snapshot: Snapshot) -> None:
    if snapshot.state is State.ABSENT:
        raise ServiceNotFound(f"service {snapshot.service.key} is not known")
    if not snapshot.source:
        raise NotSynced(
            f"service {snapshot.service.key} is not in the last view of a source that was lost"
        )


def _missing(feed: SourceFeed, namespace: str) -> NotSynced:
    return NotSynced(
        f"nothing is known of namespace {namespace}: {feed.source}: {feed.missing[namespace]}"
    )


def _same(one: Published | RequestError, other: Published | RequestError) -> bool:
    if isinstance(one, Published) and isinstance(other, Published):
        return one.digest == other.digest
    return type(one) is type(other) and str(one) == str(other)
