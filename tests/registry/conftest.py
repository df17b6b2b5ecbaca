from dataclasses import dataclass, field

import pytest

from lookaside.api.wire import WireEncoder
from lookaside.model import (
    Endpoint,
    Revision,
    ServiceKey,
    ServiceName,
    ServicePort,
    ServiceRecord,
    Snapshot,
)
from lookaside.registry.diff import ListDiff
from lookaside.registry.steps import Steps
from lookaside.registry.store import Store
from lookaside.registry.subscription import Subscription

KEY = ServiceKey("shop", "greeter")
NAME = ServiceName(KEY)


def record(*addresses: str, key: ServiceKey = KEY, ports: str = "") -> ServiceRecord:
    """A service whose every port has the given endpoints; its ports are numbered from 80 on."""
    names = ports.split(",")
    endpoints = tuple(Endpoint(address, 50051) for address in sorted(addresses))
    return ServiceRecord(
        key,
        tuple(ServicePort(name, 80 + index) for index, name in enumerate(names)),
        dict.fromkeys(names, endpoints),
    )


class TextEncoder:
    """A wire form that people can read; counts how often it was asked."""

    def __init__(self) -> None:
        self.encoded = 0

    def snapshot(self, snapshot: Snapshot) -> Steps[bytes]:
        yield 0
        self.encoded += 1
        addresses = ",".join(endpoint.address for endpoint in snapshot.endpoints)
        return f"{snapshot.state.name} {addresses}".encode()

    def delta(self, snapshot: Snapshot, base: str, difference: ListDiff) -> Steps[bytes]:
        yield 0
        changed = ",".join(endpoint.address for endpoint in difference.changed)
        removed = ",".join(target.partition(":")[0] for target in difference.removed)
        return f"{snapshot.state.name} +{changed} -{removed}".encode()

    def revision(self, revision: Revision) -> bytes:
        return f" @{revision.version}".encode()


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Observer:
    totals: dict[str, tuple[int, int]] = field(default_factory=dict)
    stale: list[tuple[str, bool]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    overwritten: int = 0

    def services(self, source: str, count: int, endpoints: int) -> None:
        self.totals[source] = (count, endpoints)

    def source_stale(self, source: str, stale: bool) -> None:
        self.stale.append((source, stale))

    def superseded(self) -> None:
        self.overwritten += 1

    def propagated(self, seconds: float) -> None:
        self.times.append(seconds)


@dataclass
class World:
    """A store of two sources with everything around it."""

    clock: Clock = field(default_factory=Clock)
    encoder: TextEncoder = field(default_factory=TextEncoder)
    observer: Observer = field(default_factory=Observer)
    synced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(
            ["first", "second"],
            encoder=self.encoder,
            observer=self.observer,
            clock=self.clock,
            synced=self.synced.append,
        )
        self.first = self.store.feeds["first"]
        self.second = self.store.feeds["second"]

    def sync(self, *records: ServiceRecord) -> None:
        self.first.replace(records, version=10, epoch="e", at=self.clock.now)
        self.second.replace([], version=0, epoch="", at=self.clock.now)


def a_store() -> Store:
    """A store of one source, which has synced and knows nothing, with the real wire form."""
    store = Store(
        ["source"],
        encoder=WireEncoder(),
        observer=Observer(),
        clock=Clock(),
        synced=lambda source: None,
    )
    store.feeds["source"].replace([], version=1, epoch="e", at=0)
    return store


def wire(subscription: Subscription) -> str | None:
    outcome = subscription.take()
    if outcome is None:
        return None
    assert isinstance(outcome, bytes)
    subscription.written()
    return outcome.decode()


def watch(world: World, name: ServiceName = NAME) -> Subscription:
    return world.store.subscribe(name, lambda: None)


@pytest.fixture
def world() -> World:
    return World()
