"""What stands at both ends of a source under test: time, and the store."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.sources.kubernetes import Timing

GREETER = ServiceKey("default", "greeter")


class FakeTime:
    """A clock that moves when told to, and by the pauses that are asked for, which cost no time."""

    def __init__(self) -> None:
        self.now = 10_000.0
        self.delays: list[float] = []
        self.holding: asyncio.Event | None = None

    async def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        if self.holding is not None:
            await self.holding.wait()
        self.now += seconds
        await asyncio.sleep(0)

    def timing(self) -> Timing:
        return Timing(clock=lambda: self.now, sleep=self.sleep, rng=random.Random(7))


class RecordingFeed:
    """A feed that remembers, and checks that what it is told is in order.

    Attributes:
        records: Every service, as the store would have it.
        views: The addresses of the greeter after each change; None: no such service.
    """

    def __init__(self) -> None:
        self.records: dict[ServiceKey, ServiceRecord] = {}
        self.views: list[list[str] | None] = []
        self.replaced = 0
        self.version = 0
        self.epochs: list[str] = []
        self.stale = False
        self.turns: list[bool] = []
        self._news = asyncio.Event()

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        self.records = {record.key: record for record in records}
        self.replaced += 1
        if self.epochs and self.epochs[-1] == epoch:
            assert version >= self.version
        else:
            self.epochs.append(epoch)
        self.version = version
        self._note()

    def update(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], *, version: int, at: float
    ) -> None:
        assert changes
        for key, record in changes.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record
        self._move(version)
        self._note()

    def advance(self, version: int) -> None:
        assert version > self.version
        self._move(version)
        self._news.set()

    def set_stale(self, stale: bool) -> None:
        assert stale is not self.stale
        self.stale = stale
        self.turns.append(stale)
        self._news.set()

    @property
    def synced(self) -> bool:
        return self.replaced > 0

    @property
    def addresses(self) -> list[str] | None:
        """The greeter's addresses; None: there is no such service."""
        record = self.records.get(GREETER)
        if record is None:
            return None
        return [endpoint.address for each in record.endpoints.values() for endpoint in each]

    async def until(self, condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
        """Wait until something is so; it is looked at after each call."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def shows(self, *addresses: str) -> None:
        """Wait until the greeter has exactly these addresses."""
        await self.until(lambda: self.addresses == sorted(addresses))

    def _move(self, version: int) -> None:
        assert self.replaced, "an update before the first view"
        assert version >= self.version
        self.version = version

    def _note(self) -> None:
        if not self.views or self.views[-1] != self.addresses:
            self.views.append(self.addresses)
        self._news.set()


class RecordingObserver:
    """Counts what a source tells of itself."""

    def __init__(self) -> None:
        self.contacts = 0
        self.errors: Counter[str] = Counter()
        self._news = asyncio.Event()

    def source_contact(self, source: str) -> None:
        self.contacts += 1

    def source_error(self, source: str, reason: str) -> None:
        self.errors[reason] += 1
        self._news.set()

    async def failed(self, reason: str, *, times: int = 1, seconds: float = 10.0) -> None:
        """Wait until something has failed so often for a reason."""
        async with asyncio.timeout(seconds):
            while self.errors[reason] < times:
                self._news.clear()
                await self._news.wait()
