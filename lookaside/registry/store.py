"""The versioned store: what every source knows, and who watches it.

Each port of a service has one immutable snapshot. It is encoded once and sent to every watcher as
those bytes. A watcher has one slot that holds the newest state alone, so a slow reader costs what a
fast one does and stalls nobody.

Where two sources know a service, the one that was named first has it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from lookaside.errors import NotSynced, RequestError, ServiceNotFound
from lookaside.model import Revision, ServiceKey, ServiceName, ServiceRecord, Snapshot, State
from lookaside.registry.feed import SourceFeed
from lookaside.registry.snapshots import absent, present, resolve_port
from lookaside.registry.subscription import Fanout, Published, Subscription


class Encoder(Protocol):
    """The wire form of snapshots. Concatenated messages merge, so that the last revision counts."""

    def snapshot(self, snapshot: Snapshot) -> bytes:
        """Encode a whole snapshot."""

    def revision(self, revision: Revision) -> bytes:
        """Encode what is appended to a snapshot's bytes to give them another revision."""


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
    """The watchers of one name, and what they were told last."""

    __slots__ = ("last", "watchers")

    def __init__(self, last: Published | RequestError) -> None:
        self.last = last
        self.watchers: dict[Subscription, None] = {}


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
        self._published: dict[ServiceKey, dict[str, Published]] = {}
        self._topics: dict[ServiceKey, dict[str, _Topic]] = {}

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

    def get(self, name: ServiceName) -> Published:
        """Return the list of a service as it is now.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        published = self._current(name)
        if published.snapshot.state is State.ABSENT:
            raise ServiceNotFound(f"service {name.key} is not known")
        if not published.snapshot.source:
            raise NotSynced(f"service {name.key} is not in the last view of a source that was lost")
        return published

    def subscribe(self, name: ServiceName, wake: Callable[[], None]) -> Subscription:
        """Watch a name. Its slot is filled at once, and again after every change.

        Args:
            name: What to watch; a service that does not exist may yet appear.
            wake: Called whenever the slot has been filled.

        Raises:
            RequestError: The name can't be answered.
        """
        published = self._current(name)
        ports = self._topics.setdefault(name.key, {})
        topic = ports.setdefault(name.port, _Topic(published))
        subscription = Subscription(
            name, wake=wake, leave=self._leave, superseded=self._observer.superseded
        )
        topic.watchers[subscription] = None
        subscription.offer(published)
        return subscription

    def snapshots(self, namespace: str = "") -> list[Snapshot]:
        """Return every port of every service, those of ExternalName services left out.

        Args:
            namespace: Only services of this one; "" for all.

        Raises:
            NotSynced: A source's first list is still to come.
        """
        if self.unsynced:
            raise _not_synced(self.unsynced)
        keys = {key for feed in self.feeds.values() for key in feed.records}
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
            for key in keys:
                self._changed(key, at)

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
                raise _not_synced(self.unsynced)
            record = feed.records.get(key)
            if record is not None:
                return feed, record
        return None, None

    def _current(self, name: ServiceName) -> Published:
        """Return the list with the revision up to which its source holds now."""
        published = self._publish(name)
        snapshot = published.snapshot
        feed = self.feeds.get(snapshot.source)
        if feed is None:
            return published
        revision = Revision(snapshot.revision.digest, feed.version, feed.epoch)
        if revision == snapshot.revision:
            return published
        return Published(
            msgspec.structs.replace(snapshot, revision=revision),
            published.wire + self._encoder.revision(revision),
        )

    def _publish(self, name: ServiceName) -> Published:
        """Return the list and its bytes, the very same ones while nothing has changed."""
        feed, record = self._lookup(name.key)
        if feed is None or record is None:
            stale = any(feed.stale for feed in self.feeds.values())
            return self._encoded(absent(name, stale=stale))
        name = resolve_port(name, record)
        ports = self._published.setdefault(name.key, {})
        published = ports.get(name.port)
        if published is None:
            published = ports[name.port] = self._encoded(self._snapshot(name, feed, record))
        return published

    def _encoded(self, snapshot: Snapshot) -> Published:
        return Published(snapshot, self._encoder.snapshot(snapshot))

    def _snapshot(self, name: ServiceName, feed: SourceFeed, record: ServiceRecord) -> Snapshot:
        return present(
            name,
            record,
            source=feed.source,
            stale=feed.stale,
            version=feed.version,
            epoch=feed.epoch,
        )

    def _changed(self, key: ServiceKey, at: float) -> None:
        self._published.pop(key, None)
        for port, topic in list(self._topics.get(key, {}).items()):
            outcome = self._outcome(ServiceName(key, port))
            if _same(outcome, topic.last):
                continue
            topic.last = outcome
            fanout = Fanout(
                len(topic.watchers), lambda: self._observer.propagated(self._clock() - at)
            )
            for subscription in list(topic.watchers):
                subscription.offer(outcome, fanout)

    def _outcome(self, name: ServiceName) -> Published | RequestError:
        try:
            return self._publish(name)
        except RequestError as error:
            return error

    def _turned_stale(self) -> None:
        self._published.clear()
        at = self._clock()
        for key in list(self._topics):
            self._changed(key, at)

    def _leave(self, subscription: Subscription) -> None:
        key, port = subscription.name.key, subscription.name.port
        ports = self._topics[key]
        del ports[port].watchers[subscription]
        if not ports[port].watchers:
            del ports[port]
        if not ports:
            del self._topics[key]


def _not_synced(sources: list[str]) -> NotSynced:
    return NotSynced(f"the first list of {', '.join(sources)} is still to come")


def _same(one: Published | RequestError, other: Published | RequestError) -> bool:
    if isinstance(one, Published) and isinstance(other, Published):
        return one.snapshot.revision.digest == other.snapshot.revision.digest
    return type(one) is type(other) and str(one) == str(other)
