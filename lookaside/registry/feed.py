"""The store's view of one source."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.steps import CHUNK, Steps, finish, portions


class SourceFeed:
    """The feed of one source; a `lookaside.sources.Feed`.

    Args:
        source: The source's name.
        changed: Called with the services that changed, and when the change was received.
        turned_stale: Called with whether the view is stale, when that changes.
        lost: Called with the namespaces that turned stale or fresh again.
        synced: Called when the first whole view is in.

    Attributes:
        records: Every service that the source knows.
        endpoints: How many endpoints they have.
        synced: Whether a first whole view is in.
        stale: Whether the view may be out of date for longer than is tolerated.
        missing: The namespaces that are not known yet, each with the reason in words.
        lost: The namespaces whose view may be out of date for longer than is tolerated, each with
            the reason in words.
        version: The version up to which the whole view holds.
        epoch: The span of time within which versions may be compared.
    """

    def __init__(
        self,
        source: str,
        *,
        changed: Callable[[list[ServiceKey], float], None],
        turned_stale: Callable[[bool], None],
        lost: Callable[[Collection[str]], None],
        synced: Callable[[], None],
    ) -> None:
        self.source = source
        self.records: dict[ServiceKey, ServiceRecord] = {}
        self.endpoints = 0
        self.synced = False
        self.stale = False
        self.missing: Mapping[str, str] = {}
        self.lost: Mapping[str, str] = {}
        self.version = 0
        self.epoch = ""
        self._trouble: Callable[[str], str] = str
        self._absence: Callable[[ServiceKey], str] = _nothing
        self._bases: dict[str, int] = {}
        self._touched: OrderedDict[ServiceKey, int] = OrderedDict()
        self._changed = changed
        self._turned_stale = turned_stale
        self._announce_lost = lost
        self._announce_synced = synced

    def trouble(self, namespace: str = "") -> str:
        """Return why the source can't confirm what it knows just now, in words; "" where it can.

        Args:
            namespace: The namespace; "": any.
        """
        return self._trouble(namespace)

    def follow_trouble(self, trouble: Callable[[str], str]) -> None:
        """Set how to ask the source for its trouble, for error texts."""
        self._trouble = trouble

    def absence(self, key: ServiceKey) -> str:
        """Return what there is of a service that is not known, in words; "" for nothing."""
        return self._absence(key)

    def follow_absences(self, absence: Callable[[ServiceKey], str]) -> None:
        """Have `absence` answered by the source."""
        self._absence = absence

    def is_stale(self, namespace: str) -> bool:
        """Whether what is known of a namespace may be out of date for longer than is tolerated."""
        return self.stale or namespace in self.lost

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        """Replace the last view with a whole one; what is missing from it is gone."""
        finish(self.replacing(records, version=version, epoch=epoch, at=at))

    def replacing(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> Steps[None]:
        """Do the same as `replace`, in steps. The old view holds until the last step."""
        whole: dict[ServiceKey, ServiceRecord] = {}
        endpoints = 0
        changed: list[ServiceKey] = []
        for some in portions(records):
            for record in some:
                whole[record.key] = record
                endpoints += _count(record)
                if not _serves_as(record, self.records.get(record.key)):
                    changed.append(record.key)
            yield 0
        for keys in portions(self.records):
            changed += [key for key in keys if key not in whole]
            yield 0
        self.records, self.endpoints = whole, endpoints
        self.epoch = epoch
        first, self.synced = not self.synced, True
        self.version = version
        # Versions of an epoch before can't be compared with it; in the same one they are no larger.
        self._bases = {namespace: min(at, version) for namespace, at in self._bases.items()}
        self._touched = OrderedDict()
        try:
            if changed:
                self._changed(changed, at)
        finally:
            if first:
                self._announce_synced()

    def update(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], *, version: int, at: float
    ) -> None:
        """Change some services; None takes one away."""
        for key in changes:
            self._touched[key] = version
            self._touched.move_to_end(key)
        self._apply(changes, at)

    def advance(self, version: int) -> None:
        """Say that the whole view holds up to a newer version."""
        self.version = version
        # The oldest are first. Those left over are below the base, which hides them.
        for _ in range(min(CHUNK, len(self._touched))):
            key, at = self._touched.popitem(last=False)
            if at > self._base(key):
                self._touched[key] = at
                self._touched.move_to_end(key, last=False)
                break

    def version_of(self, key: ServiceKey) -> int:
        """Return the version up to which what is known of one service holds."""
        return max(self._base(key), self._touched.get(key, 0))

    def set_missing(self, namespaces: Mapping[str, str]) -> None:
        """Set the namespaces that are not known yet, each with the reason in words."""
        self.missing = namespaces

    def set_lost(self, namespaces: Mapping[str, str]) -> None:
        """Set the namespaces whose view may be out of date, each with the reason in words.

        What is known of them stays, and holds up to the version of the whole view of now.
        """
        turned = self.lost.keys() ^ namespaces.keys()
        self.lost = namespaces
        self._bases = {
            namespace: self._bases.get(namespace, self.version) for namespace in namespaces
        }
        if turned:
            self._announce_lost(turned)

    def set_stale(self, stale: bool) -> None:
        """Say whether the view may be out of date for longer than is tolerated."""
        if stale != self.stale:
            self.stale = stale
            self._turned_stale(stale)

    def _base(self, key: ServiceKey) -> int:
        return self._bases.get(key.namespace, self.version)

    def _apply(self, changes: Mapping[ServiceKey, ServiceRecord | None], at: float) -> None:
        changed = [key for key, record in changes.items() if self._set(key, record)]
        if changed:
            self._changed(changed, at)

    def _set(self, key: ServiceKey, record: ServiceRecord | None) -> bool:
        known = self.records.pop(key, None)
        if known is not None:
            self.endpoints -= _count(known)
        if record is None:
            return known is not None
        self.records[key] = record
        self.endpoints += _count(record)
        return not _serves_as(record, known)


def _nothing(_key: ServiceKey) -> str:
    return ""


def _serves_as(record: ServiceRecord, known: ServiceRecord | None) -> bool:
    return known is not None and known.serves_as(record)


def _count(record: ServiceRecord) -> int:
    return sum(map(len, record.endpoints.values()))
