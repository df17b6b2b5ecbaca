"""What one source knows, as the store holds it."""

from collections.abc import Callable, Iterable, Mapping

from lookaside.model import ServiceKey, ServiceRecord


class SourceFeed:
    """Where one source puts what it knows; a `lookaside.sources.Feed`.

    Args:
        source: The source's name.
        changed: Called with the services that changed, and when the change was received.
        turned_stale: Called with whether the view is stale, when that changes.
        synced: Called when the first whole view is in.

    Attributes:
        records: Every service that the source knows.
        endpoints: How many endpoints they have.
        synced: Whether a first whole view is in.
        stale: Whether the view may be out of date for longer than is tolerated.
        missing: The namespaces of which nothing is known yet, and why, in words.
        version: The version up to which the whole view holds.
        epoch: The span of time within which versions may be compared.
    """

    def __init__(
        self,
        source: str,
        *,
        changed: Callable[[list[ServiceKey], float], None],
        turned_stale: Callable[[bool], None],
        synced: Callable[[], None],
    ) -> None:
        self.source = source
        self.records: dict[ServiceKey, ServiceRecord] = {}
        self.endpoints = 0
        self.synced = False
        self.stale = False
        self.missing: Mapping[str, str] = {}
        self.version = 0
        self.epoch = ""
        self._trouble: Callable[[], str] = str
        self._touched: dict[ServiceKey, int] = {}
        self._changed = changed
        self._turned_stale = turned_stale
        self._announce_synced = synced

    @property
    def trouble(self) -> str:
        """Why the source can't confirm what it knows just now, in words; "" where it can."""
        return self._trouble()

    def follow_trouble(self, trouble: Callable[[], str]) -> None:
        """Have the source's trouble asked for when somebody is to be told of it."""
        self._trouble = trouble

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        """Put a whole view in the place of the last one; what is missing from it is gone."""
        changes: dict[ServiceKey, ServiceRecord | None] = dict.fromkeys(self.records)
        changes.update((record.key, record) for record in records)
        self.epoch = epoch
        first, self.synced = not self.synced, True
        self.version = version
        self._touched.clear()
        try:
            self._apply(changes, at)
        finally:
            if first:
                self._announce_synced()

    def update(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], *, version: int, at: float
    ) -> None:
        """Change some services; None takes one away."""
        self._touched.update(dict.fromkeys(changes, version))
        self._apply(changes, at)

    def advance(self, version: int) -> None:
        """Say that the whole view holds up to a newer version."""
        self.version = version
        self._touched = {key: at for key, at in self._touched.items() if at > version}

    def version_of(self, key: ServiceKey) -> int:
        """Return the version up to which what is known of one service holds."""
        return max(self.version, self._touched.get(key, 0))

    def set_missing(self, namespaces: Mapping[str, str]) -> None:
        """Say of which namespaces nothing is known yet, and why, in words."""
        self.missing = namespaces

    def set_stale(self, stale: bool) -> None:
        """Say whether the view may be out of date for longer than is tolerated."""
        if stale != self.stale:
            self.stale = stale
            self._turned_stale(stale)

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
        return known is None or not known.serves_as(record)


def _count(record: ServiceRecord) -> int:
    return sum(map(len, record.endpoints.values()))
