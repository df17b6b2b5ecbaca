"""What stands at both ends of a source under test: time, and the store."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from lookaside.model import Endpoint, Explanation, Hints, ServiceKey, ServiceRecord
from lookaside.registry.steps import Steps, finish
from lookaside.sources.kubernetes import Timing
from lookaside.sources.kubernetes.api.errors import REASONS

KNOWN = REASONS | {"closed", "malformed", "internal"}
GREETER = ServiceKey("default", "greeter")


class FakeTimer:
    """A call at a time of a `FakeTime`."""

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due = due
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTime:
    """A clock that moves when told to, and by the pauses that are asked for, which cost no time."""

    def __init__(self) -> None:
        self.now = 10_000.0
        self.delays: list[float] = []
        self.timers: list[FakeTimer] = []

    def advance(self, seconds: float) -> None:
        """Let time pass, and timers ring at their times."""
        end = self.now + seconds
        while due := [one for one in self.pending() if one.due <= end]:
            timer = min(due, key=lambda one: one.due)
            self.timers.remove(timer)
            self.now = max(self.now, timer.due)
            timer.call()
        self.now = end

    def pending(self) -> list[FakeTimer]:
        """Return the timers that are to ring."""
        self.timers = [one for one in self.timers if not one.cancelled]
        return self.timers

    async def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)

    def call_later(self, seconds: float, call: Callable[[], None]) -> FakeTimer:
        assert seconds > 0
        self.timers.append(FakeTimer(self.now + seconds, call))
        return self.timers[-1]

    def timing(self) -> Timing:
        return Timing(
            clock=lambda: self.now,
            sleep=self.sleep,
            call_later=self.call_later,
            rng=random.Random(7),
        )


class RecordingFeed:
    """A feed that remembers, and checks that what it is told is in order.

    Attributes:
        records: Every service, as the store would have it.
        views: The addresses of the greeter after each change; None: no such service.
        updates: How many changes there were.
        version: The version up to which the whole view holds.
        touched: The version of the last change of each service.
    """

    def __init__(self) -> None:
        self.records: dict[ServiceKey, ServiceRecord] = {}
        self.views: list[list[str] | None] = []
        self.updates = 0
        self.replaced = 0
        self.version = 0
        self.touched: dict[ServiceKey, int] = {}
        self.epochs: list[str] = []
        self.stale = False
        self.missing: Mapping[str, str] = {}
        self.lost: Mapping[str, str] = {}
        self.absence: Callable[[ServiceKey], str] = str
        self.turns: list[bool] = []
        self._news = asyncio.Event()

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        finish(self.replacing(records, version=version, epoch=epoch, at=at))

    def replacing(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> Steps[None]:
        yield 0
        self.records = {record.key: record for record in records}
        self.replaced += 1
        if self.epochs and self.epochs[-1] == epoch:
            assert version >= self.version
        else:
            self.epochs.append(epoch)
        self.version = version
        self.touched.clear()
        self._note()

    def update(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], *, version: int, at: float
    ) -> None:
        assert changes
        assert self.replaced, "an update before the first view"
        self.updates += 1
        for key, record in changes.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record
            assert version >= self.version_of(key)
            self.touched[key] = version
        self._note()

    def advance(self, version: int) -> None:
        assert self.replaced, "an advance before the first view"
        assert version > self.version
        self.version = version
        self._news.set()

    def version_of(self, key: ServiceKey) -> int:
        """Return the version up to which what is known of one service holds."""
        return max(self.version, self.touched.get(key, 0))

    def set_missing(self, namespaces: Mapping[str, str]) -> None:
        self.missing = namespaces
        self._news.set()

    def set_lost(self, namespaces: Mapping[str, str]) -> None:
        assert namespaces != self.lost
        self.lost = namespaces
        self._news.set()

    def follow_absences(self, absence: Callable[[ServiceKey], str]) -> None:
        self.absence = absence

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

    @property
    def endpoints(self) -> list[Endpoint]:
        """The greeter's endpoints."""
        return [one for each in self.records[GREETER].endpoints.values() for one in each]

    @property
    def ports(self) -> list[str]:
        """The names of the greeter's ports."""
        return [port.name for port in self.records[GREETER].ports]

    @property
    def hints(self) -> list[Hints]:
        """The hints of the greeter's endpoints."""
        return [one for each in self.records[GREETER].hints.values() for one in each]

    @property
    def service_config(self) -> str:
        """The greeter's service config."""
        return self.records[GREETER].service_config

    def explain(self, port: str) -> Explanation:
        """Tell why the greeter's list is as it is."""
        explainer = self.records[GREETER].explainer
        assert explainer is not None
        return explainer.explain(port)

    @property
    def weights(self) -> list[int]:
        """The weights of the greeter's endpoints."""
        return [endpoint.weight for endpoint in self.endpoints]

    async def until(self, condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
        """Wait until something is so; it is looked at after each call."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def shows(self, *addresses: str) -> None:
        """Wait until the greeter has exactly these addresses."""
        await self.until(lambda: self.addresses == sorted(addresses))

    def _note(self) -> None:
        if not self.views or self.views[-1] != self.addresses:
            self.views.append(self.addresses)
        self._news.set()


class RecordingObserver:
    """Counts what a source tells of itself."""

    def __init__(self) -> None:
        self.contacts = 0
        self.errors: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self._news = asyncio.Event()

    def source_contact(self, source: str) -> None:
        self.contacts += 1
        self._news.set()

    async def until(self, condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
        """Wait until something is so; it is looked at after each call."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def contacted(self, times: int) -> None:
        """Wait until the source has confirmed its view so often."""
        await self.until(lambda: self.contacts >= times)

    def source_error(self, source: str, reason: str) -> None:
        # A series is there from the start only if its word is known.
        assert reason in KNOWN, reason
        self.errors[reason] += 1
        self._news.set()

    def refused(self, kind: str, annotation: str) -> None:
        self.refusals[kind, annotation] += 1
        self._news.set()

    async def failed(self, reason: str, *, times: int = 1) -> None:
        """Wait until something has failed so often for a reason."""
        await self.until(lambda: self.errors[reason] >= times)
