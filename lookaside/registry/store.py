"""The versioned store: what every source knows, and who watches it.

Each port of a service has one immutable snapshot for each kind of client that must tell them apart:
in general one. It is encoded once and sent to every watcher as those bytes. A watcher has one slot
that holds the newest state alone, so a slow reader costs what a fast one does and stalls nobody.

Where two sources know a service, the one that was named first has it.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
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
from lookaside.registry.port_snapshots import ClientSubset, PortSnapshots
from lookaside.registry.published import Encoder, Published
from lookaside.registry.snapshots import absent, resolve_port
from lookaside.registry.steps import (
    CHUNK,
    WAKES,
    AtOnce,
    Steps,
    Worker,
    chunks,
    finish,
    portions,
    sorting,
)
from lookaside.registry.subscription import Fanout, Subscription, settle

_HISTORY = 8


class StoreObserver(Protocol):
    """Receives events of the store, for metrics."""

    def services(self, source: str, count: int, endpoints: int) -> None:
        """A source's view changed, with its number of services and endpoints."""

    def source_stale(self, source: str, stale: bool) -> None:
        """A source's view may be out of date for longer than is tolerated, or no longer may."""

    def superseded(self) -> None:
        """A watcher's slot was overwritten before it was read."""

    def propagated(self, seconds: float) -> None:
        """The last of a change's watchers was written to, so long after the change came in."""


class _Topic:
    """The watchers of one name with one view, and what they were sent last.

    Attributes:
        last: What they were sent last; None: nothing yet.
        watchers: The watchers, in the order in which they came.
        new: Those that have not been sent anything yet, and the list that each holds.
        subset: The subset that they share, if their view is of one.
    """

    __slots__ = ("_history", "last", "new", "subset", "watchers")

    def __init__(self, view: View) -> None:
        self.last: Published | RequestError | None = None
        self.watchers: dict[Subscription, None] = {}
        self.new: dict[Subscription, str] = {}
        self.subset = ClientSubset(view) if view.subset else None
        self._history: deque[Snapshot] = deque(maxlen=_HISTORY)

    def move(self, outcome: Published | RequestError) -> bool:
        """Set a new outcome; False if it was sent last."""
        if self.last is not None and _same(outcome, self.last):
            return False
        if isinstance(self.last, Published):
            self._history.append(self.last.snapshot)
        self.last = outcome
        return True

    def resume(self, subscription: Subscription, digest: str) -> bool:
        """Record the list that a new watcher holds; return whether that is the current one."""
        if not isinstance(self.last, Published):
            return False
        lists = (self.last.snapshot, *self._history)
        base = next((one for one in lists if one.revision.digest == digest), None)
        if base is not None:
            subscription.hold(base)
        return base is self.last.snapshot


class Store:
    """All that is known, and all that watch it. For one thread.

    Args:
        sources: The names of the sources, the one that wins first.
        encoder: Gives snapshots their wire form.
        observer: Receives changes and deliveries.
        clock: The monotonic clock of the sources' events, in seconds.
        worker: Does what takes long; None: at once. For each service one thing follows the other,
            so that no watcher's list goes back.
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
        worker: Worker | None = None,
    ) -> None:
        self.feeds = {source: self._feed(source) for source in sources}
        self._encoder = encoder
        self._observer = observer
        self._clock = clock
        self._synced = synced
        self._worker = worker or AtOnce()
        self._pending: dict[ServiceKey, dict[tuple[str, View], float | None]] = {}
        self._changes: deque[tuple[Sequence[ServiceKey], float]] = deque()
        self._ports: dict[ServiceKey, dict[str, PortSnapshots]] = {}
        self._topics: dict[ServiceKey, dict[tuple[str, View], _Topic]] = {}

    @property
    def unsynced(self) -> list[str]:
        """The sources whose first list is still to come."""
        return [feed.source for feed in self.feeds.values() if not feed.synced]

    def require_synced(self) -> None:
        """Check that every source's first list has come.

        Raises:
            NotSynced: One is still to come.
        """
        if self.unsynced:
            raise self._not_synced()

    @property
    def watchers(self) -> int:
        """How many subscriptions are open."""
        return sum(
            len(topic.watchers) for ports in self._topics.values() for topic in ports.values()
        )

    @property
    def lists(self) -> int:
        """How many snapshots are kept ready to be sent."""
        return sum(len(snapshots) for ports in self._ports.values() for snapshots in ports.values())

    def get(self, name: ServiceName, view: View = WHOLE) -> Published:
        """Return the list of a service as it is now.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        return finish(self.getting(name, view))

    def getting(self, name: ServiceName, view: View = WHOLE) -> Steps[Published]:
        """Return the list of a service as it is when this begins, with its bytes at hand.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        published = yield from self.finding(name, view)
        yield from published.encoding()
        return published

    def finding(self, name: ServiceName, view: View = WHOLE) -> Steps[Published]:
        """Return what `getting` does, for who wants another form of it than its bytes.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        published = yield from self._publishing(name, view)
        self._require_known(published.snapshot)
        return published

    def presenting(self, name: ServiceName, view: View = WHOLE) -> Steps[Snapshot]:
        """Return the list of a service as it is when this begins, be it of one that is not known.

        Raises:
            RequestError: The name can't be answered.
        """
        return (yield from self._publishing(name, view)).snapshot

    def count(self, name: ServiceName) -> int:
        """Return how many endpoints a service has.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        _, record = self._lookup(name.key)
        if record is None:
            self._require_known(self._absent(name))
            return 0
        return len(record.endpoints.get(resolve_port(name, record).port, ()))

    def resolve(self, name: ServiceName) -> ServiceName:
        """Return a name with the port's own name instead of "" or a number.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        _, record = self._lookup(name.key)
        if record is None:
            self._require_known(self._absent(name))
            return name
        return resolve_port(name, record)

    def explain(self, name: ServiceName, view: View = WHOLE) -> tuple[Snapshot, Explanation]:
        """Return the list of a service as it is now, and why it is so.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        return self.explaining(name, view)()

    def explaining(
        self, name: ServiceName, view: View = WHOLE
    ) -> Callable[[], tuple[Snapshot, Explanation]]:
        """Return what does as `explain` does, of the list as it is now, in any thread.

        Raises:
            ServiceNotFound: No source knows the service.
            RequestError: Another of its kinds: the name can't be answered.
        """
        feed, record = self._lookup(name.key)
        if feed is None or record is None:
            snapshot = self._absent(name)
            self._require_known(snapshot)
            return lambda: (snapshot, Explanation(()))
        name = resolve_port(name, record, aliases=True)
        snapshots = PortSnapshots(name, record, feed, self._encoder)
        # It says so long before its lists are called stale.
        trouble = feed.trouble(name.key.namespace)
        note = f"what {feed.source} knows can't be confirmed just now: {trouble}"
        notes = (note,) if trouble else ()

        def explained() -> tuple[Snapshot, Explanation]:
            found = explain(name, record, view)
            found = msgspec.structs.replace(found, notes=(*found.notes, *notes))
            return finish(snapshots.publishing(view)).snapshot, found

        return explained

    def subscribe(
        self,
        name: ServiceName,
        wake: Callable[[], None],
        *,
        view: View = WHOLE,
        known: str = "",
        deltas: bool = False,
        reads: bool = True,
        lasting: bool = False,
    ) -> Subscription:
        """Watch a name. Its slot is filled as soon as its list is made, and after every change.

        Args:
            name: What to watch; a service that does not exist may yet appear.
            wake: Called whenever the slot has been filled.
            view: Who watches.
            known: The digest of the list that the watcher holds. While that is the list, the slot
                stays empty.
            deltas: Whether the watcher takes deltas.
            reads: Whether it takes what its slot is filled with; else it is only woken.
            lasting: Whether to watch a name too that can't be answered now, and may be later.

        Raises:
            RequestError: The name can't be answered.
        """
        if not lasting:
            _, record = self._lookup(name.key)
            if record is not None:
                resolve_port(name, record)
        topics = self._topics.setdefault(name.key, {})
        topic = topics.get((name.port, view))
        if topic is None:
            topic = topics[name.port, view] = _Topic(view)
        subscription = Subscription(
            name,
            view,
            deltas=deltas,
            reads=reads,
            wake=wake,
            leave=self._leave,
            superseded=self._observer.superseded,
        )
        topic.watchers[subscription] = None
        topic.new[subscription] = known
        self._ask(name.key, [(name.port, view)], None)
        return subscription

    def snapshots(self, namespace: str = "") -> list[Snapshot]:
        """Return every port of every service; an ExternalName has one, and no endpoints.

        Args:
            namespace: Only services of this one; "" for all that are known.

        Raises:
            NotSynced: A source's first list is still to come, or that of the namespace.
        """
        return finish(self.listing(namespace))

    def listing(self, namespace: str = "") -> Steps[list[Snapshot]]:
        """Return what `snapshots` does, in steps: each service as it is when its turn comes."""
        found = []
        for name in (yield from self._names(namespace)):
            try:
                feed, record = self._lookup(name.key)
            except NotSynced:
                continue  # its namespace has gone missing meanwhile
            if feed is None or record is None or name.port not in _ports(record):
                continue
            snapshots = PortSnapshots(name, record, feed, self._encoder)
            found.append((yield from snapshots.publishing(WHOLE)).snapshot)
            yield 0
        return found

    def overview(self, most: int) -> Steps[tuple[list[tuple[ServiceName, str, str, int]], int]]:
        """Return the first ports of services with source, state in words and number of endpoints.

        Args:
            most: How many.

        Returns:
            Them, and how many there are in all.

        Raises:
            NotSynced: A source's first list is still to come.
        """
        names = yield from self._names("")
        found = []
        for name in names[:most]:
            feed, record = self._lookup(name.key)
            if feed is not None and record is not None:
                count = len(record.endpoints.get(name.port, ()))
                state = "present" if count else "empty"
                if record.external_name:
                    state = f"alias of {record.external_name}"
                if feed.is_stale(name.key.namespace):
                    state = "stale"
                found.append((name, feed.source, state, count))
        return found, len(names)

    def _names(self, namespace: str) -> Steps[list[ServiceName]]:
        """Return the ports of services, in order: those of each as they are in its step."""
        self.require_synced()
        missing: set[str] = set()
        for source in self.feeds.values():
            if namespace in source.missing:
                raise _missing(source, namespace)
            missing.update(source.missing)
        keys: dict[str, ServiceKey] = {}
        for source in self.feeds.values():
            for some in portions(list(source.records)):
                for key in some:
                    if namespace in ("", key.namespace) and key.namespace not in missing:
                        keys[f"{key.namespace}\0{key.name}"] = key
                yield 0
        found: list[ServiceName] = []
        for texts in chunks((yield from sorting(keys))):
            for text in texts:
                found += self._ports_of(keys[text])
            yield 0
        return found

    def _ports_of(self, key: ServiceKey) -> list[ServiceName]:
        try:
            _, record = self._lookup(key)
        except NotSynced:
            return []  # its namespace has gone missing meanwhile
        return [ServiceName(key, port) for port in _ports(record)] if record is not None else []

    def _feed(self, source: str) -> SourceFeed:
        def changed(keys: list[ServiceKey], at: float) -> None:
            self._observer.services(source, len(feed.records), feed.endpoints)
            self._changed_all(keys, at)

        def turned(stale: bool) -> None:
            self._observer.source_stale(source, stale)
            self._turned_stale()

        feed = SourceFeed(
            source,
            changed=changed,
            turned_stale=turned,
            lost=self._turned_lost,
            synced=lambda: self._synced(source),
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
        causes = "; ".join(filter(None, (feed.trouble() for feed in unsynced)))
        text = f"the first list of {', '.join(feed.source for feed in unsynced)} is still to come"
        return NotSynced(f"{text}: {causes}" if causes else text)

    def _publishing(
        self, name: ServiceName, view: View, subset: ClientSubset | None = None
    ) -> Steps[Published]:
        """Return a client's list, the same object while nothing has changed."""
        feed, record = self._lookup(name.key)
        if feed is None or record is None:
            return Published(self._absent(name), self._encoder)
        name = resolve_port(name, record)
        ports = self._ports.setdefault(name.key, {})
        snapshots = ports.get(name.port)
        if snapshots is None or not snapshots.fits(record, feed):
            snapshots = ports[name.port] = PortSnapshots(name, record, feed, self._encoder)
        snapshots.confirm()
        return (yield from snapshots.publishing(view, subset))

    def _absent(self, name: ServiceName) -> Snapshot:
        return absent(name, self.feeds.values())

    def _changed_all(self, keys: Sequence[ServiceKey], at: float) -> None:
        """Notify the watchers of some services; of many, a portion in each step."""
        if len(keys) <= CHUNK:
            finish(self._changing(keys, at))
            return
        self._changes.append((keys, at))
        self._worker.ask(self, self._changing_many, rests=False)

    def _changing_many(self) -> Steps[None]:
        while self._changes:
            yield from self._changing(*self._changes.popleft())

    def _changing(self, keys: Sequence[ServiceKey], at: float) -> Steps[None]:
        """Notify every service's watchers, and only then raise what one of them raised."""
        failure: Exception | None = None
        for some in chunks(keys):
            for key in some:
                try:
                    self._changed(key, at)
                except Exception as error:  # noqa: BLE001 (raised once the others are notified)
                    failure = failure or error
            yield 0
        if failure is not None:
            raise failure

    def _changed(self, key: ServiceKey, at: float) -> None:
        self._ports.pop(key, None)
        topics = self._topics.get(key)
        if topics:
            self._ask(key, topics, at)

    def _ask(self, key: ServiceKey, topics: Iterable[tuple[str, View]], at: float | None) -> None:
        """Have the current state sent to topics of a service; `at` is the time of a change."""
        pending = self._pending.setdefault(key, {})
        for topic in topics:
            # Of changes that are sent together, the last counts.
            pending[topic] = pending.get(topic) if at is None else at
        self._worker.ask(key, lambda: self._telling(key))

    def _telling(self, key: ServiceKey) -> Steps[None]:
        for (port, view), at in self._pending.pop(key, {}).items():
            topic = self._topics.get(key, {}).get((port, view))
            if topic is not None:
                yield from self._tell(ServiceName(key, port), view, topic, at)

    def _tell(self, name: ServiceName, view: View, topic: _Topic, at: float | None) -> Steps[None]:
        try:
            outcome: Published | RequestError = yield from self._publishing(
                name, view, topic.subset
            )
        except RequestError as error:
            outcome = error
        before = topic.last
        if isinstance(outcome, Published):
            if any(one.wants_whole for one in topic.watchers):
                yield from outcome.encoding()
            if isinstance(before, Published) and any(one.deltas for one in topic.watchers):
                yield from outcome.comparing(before.snapshot)
        moved = topic.move(outcome)
        new, topic.new = topic.new, {}
        told = list(topic.watchers if moved else new)
        fanout = None
        if moved and at is not None and told:
            fanout = Fanout(len(told), lambda: self._observer.propagated(self._clock() - at))
        whole = outcome.weight if isinstance(outcome, Published) else 1
        woken = 0
        for subscription in told:
            woken += whole if subscription.wants_whole else 1
            if subscription in new and topic.resume(subscription, new[subscription]):
                settle(fanout)
            else:
                subscription.offer(outcome, fanout)
            if woken >= WAKES:
                yield woken
                woken = 0
        yield woken

    def _turned_stale(self) -> None:
        self._changed_all(list(self._topics), self._clock())

    def _turned_lost(self, namespaces: Collection[str]) -> None:
        keys = [key for key in self._topics if key.namespace in namespaces]
        self._changed_all(keys, self._clock())

    def _require_known(self, snapshot: Snapshot) -> None:
        key = snapshot.service.key
        if snapshot.state is State.ABSENT:
            more = filter(None, (feed.absence(key) for feed in self.feeds.values()))
            raise ServiceNotFound("; ".join((f"service {key} is not known", *more)))
        if not snapshot.source:
            causes = dict.fromkeys(
                feed.lost.get(key.namespace) or feed.trouble(key.namespace)
                for feed in self.feeds.values()
                if feed.is_stale(key.namespace)
            )
            text = f"service {key} is not in the last view of a source that was lost"
            raise NotSynced(": ".join(filter(None, (text, "; ".join(filter(None, causes))))))

    def _leave(self, subscription: Subscription) -> None:
        key, topic = subscription.name.key, (subscription.name.port, subscription.view)
        topics = self._topics[key]
        del topics[topic].watchers[subscription]
        topics[topic].new.pop(subscription, None)
        if not topics[topic].watchers:
            del topics[topic]
        if not topics:
            del self._topics[key]


def _ports(record: ServiceRecord) -> list[str]:
    """Return the names of the ports that can be listed; a DNS alias has one without a name."""
    if record.external_name:
        return [""]
    return [port.name for port in record.ports] or [""]


def _missing(feed: SourceFeed, namespace: str) -> NotSynced:
    return NotSynced(
        f"nothing is known of namespace {namespace}: {feed.source}: {feed.missing[namespace]}"
    )


def _same(one: Published | RequestError, other: Published | RequestError) -> bool:
    if isinstance(one, Published) and isinstance(other, Published):
        return one.digest == other.digest
    return type(one) is type(other) and str(one) == str(other)
