"""The lists of one port of a service, one for each kind of client that must tell them apart."""

from collections.abc import Iterator

from lookaside.model import Endpoint, PortList, Revision, ServiceName, ServiceRecord
from lookaside.policy.subset import Ranking
from lookaside.policy.topology import ANYWHERE, Place, Reach, joined, reach, relevant, select
from lookaside.policy.view import View
from lookaside.registry.diff import ListDiff, diffing
from lookaside.registry.feed import SourceFeed
from lookaside.registry.published import Encoder, Published
from lookaside.registry.snapshots import presenting
from lookaside.registry.steps import CHUNK, Steps, chunks


class ClientSubset:
    """One client's subset, kept from one list to the next.

    Attributes:
        of: The list that it is a subset of.
    """

    __slots__ = ("of", "ranking")

    def __init__(self, view: View) -> None:
        self.ranking = Ranking(view.subset, view.client)
        self.of: tuple[Endpoint, ...] | None = None


class PortSnapshots:
    """The snapshots of one port, for its source's current state: discarded when that changes.

    Args:
        name: The service and the port's own name.
        record: What its source knows of the service.
        feed: The source.
        encoder: Gives snapshots their wire form.
    """

    __slots__ = (
        "_differences",
        "_encoder",
        "_epoch",
        "_feed",
        "_list",
        "_lists",
        "_name",
        "_published",
        "_reach",
        "_record",
        "_stale",
        "_version",
    )

    def __init__(
        self, name: ServiceName, record: ServiceRecord, feed: SourceFeed, encoder: Encoder
    ) -> None:
        self._name = name
        self._record = record
        self._feed = feed
        self._encoder = encoder
        self._stale = feed.is_stale(name.key.namespace)
        self._list = record.port_list(name.port)
        self._reach: Reach | None = None
        self._lists: dict[Place, tuple[Endpoint, ...]] = {}
        self._differences: dict[tuple[int, int], tuple[tuple[Endpoint, ...], ListDiff]] = {}
        self._published: dict[View, Published] = {}
        self.confirm()

    def __len__(self) -> int:
        return len(self._published)

    def fits(self, record: ServiceRecord, feed: SourceFeed) -> bool:
        """Whether it is of use for what a source knows of the service now."""
        if feed is not self._feed or feed.is_stale(self._name.key.namespace) != self._stale:
            return False
        if record is not self._record and record.serves_as(self._record):
            self._record = record
        return record is self._record

    def confirm(self) -> None:
        """Take it that all holds up to where the source is now."""
        self._version, self._epoch = self._feed.version_of(self._name.key), self._feed.epoch

    def publishing(self, view: View, subset: ClientSubset | None = None) -> Steps[Published]:
        """Return the list of a client, the same object for equal lists.

        Its revision says up to which version its source held when it was last confirmed.

        Args:
            view: Who asks.
            subset: The client's subset of the list before, if it has one.
        """
        version, epoch = self._version, self._epoch
        place = relevant((yield from self._reaching()), view.place)
        near = yield from self._selecting(place)
        own = bool(0 < view.subset < len(near))
        key = View(place, view.subset, view.client) if own else View(place)
        published = self._published.get(key)
        if published is not None:
            published = published.at(Revision(published.digest, version, epoch))
            self._published[key] = published
            return published
        endpoints = near
        if own:
            endpoints = yield from self._choosing(near, view, subset)
        snapshot = yield from presenting(
            self._name,
            self._record,
            endpoints,
            source=self._feed.source,
            stale=self._stale,
            version=version,
            epoch=epoch,
        )
        published = Published(snapshot, self._encoder)
        # A subset is one client's own: to keep it would be to keep it for nobody else.
        if not own:
            published = self._published.setdefault(key, published)
        return published

    def _reaching(self) -> Steps[Reach]:
        if self._reach is None:
            found: list[Reach] = []
            for part in self._parts():
                found.append(reach(part))
                yield 0
            self._reach = joined(found)
        return self._reach

    def _selecting(self, place: Place) -> Steps[tuple[Endpoint, ...]]:
        if place == ANYWHERE:
            return self._list.endpoints
        if place not in self._lists:
            found: list[Endpoint] = []
            for part in self._parts():
                found += select(part, place)
                yield 0
            self._lists.setdefault(place, tuple(found))
        return self._lists[place]

    def _parts(self) -> Iterator[PortList]:
        """Return what a list is made of, in parts if all of it must be gone through."""
        whole = self._list
        if whole.own is not None:
            yield whole
            return
        for start in range(0, len(whole.endpoints), CHUNK):
            end = start + CHUNK
            yield PortList(whole.endpoints[start:end], whole.hints[start:end])

    def _choosing(
        self, near: tuple[Endpoint, ...], view: View, subset: ClientSubset | None
    ) -> Steps[tuple[Endpoint, ...]]:
        subset = subset or ClientSubset(view)
        ranking = subset.ranking
        if subset.of is not None:
            difference = yield from self._difference(subset.of, near)
            ranking.remove(difference.removed)
            ranking.add(difference.changed)
        if subset.of is None or not ranking.whole:
            ranking.begin()
            for chunk in chunks(near):
                ranking.add(chunk)
                yield 0
        subset.of = near
        return ranking.chosen() or near

    def _difference(
        self, before: tuple[Endpoint, ...], near: tuple[Endpoint, ...]
    ) -> Steps[ListDiff]:
        """Return what has changed since a list; that of the list before serves many clients."""
        # Lists that are kept here keep their identity.
        key = (id(before), id(near))
        known = self._differences.get(key)
        if known is None:
            difference = yield from diffing(before, near)
            known = self._differences[key] = (before, difference)
        return known[1]
