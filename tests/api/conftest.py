import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from lookaside.api.authorization import Authorizer
from lookaside.api.calls import Bounds
from lookaside.api.server import Doors, GrpcServer
from lookaside.api.tls import TlsFiles
from lookaside.api.watch import WatchLimits
from lookaside.api.wire import WireEncoder
from lookaside.api.worker import LoopWorker
from lookaside.model import (
    CallCounts,
    Endpoint,
    ServiceKey,
    ServiceName,
    ServicePort,
    ServiceRecord,
)
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store

KEY = ServiceKey("default", "greeter")
Watch = grpc.aio.UnaryStreamCall[pb.WatchServersRequest, pb.WatchServersResponse]


def record(*addresses: str, key: ServiceKey = KEY, ports: tuple[str, ...] = ("",)) -> ServiceRecord:
    endpoints = tuple(Endpoint(address, 50051) for address in sorted(addresses))
    return ServiceRecord(
        key,
        tuple(ServicePort(name, 80 + index) for index, name in enumerate(ports)),
        dict.fromkeys(ports, endpoints),
    )


@dataclass
class Observer:
    requests: list[tuple[str, str]] = field(default_factory=list)
    watches: int = 0
    pushes: int = 0
    at_doors: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    reported: list[tuple[str, CallCounts]] = field(default_factory=list)
    xds: list[tuple[str, ...]] = field(default_factory=list)

    def services(self, source: str, count: int, endpoints: int) -> None: ...
    def source_stale(self, source: str, stale: bool) -> None: ...
    def superseded(self) -> None: ...
    def propagated(self, seconds: float) -> None: ...

    def clients(self, door: str, count: int) -> None:
        self.at_doors[door] = count

    def certificate_ends(self, at: float) -> None:
        self.ends.append(at)

    def stream_refused(self, door: str, bound: str) -> None:
        self.refused.append((door, bound))

    def calls_reported(self, service: ServiceName, counts: CallCounts) -> None:
        self.reported.append((str(service), counts))

    def xds_refused(self, kind: str, resource: str) -> None:
        self.xds.append(("refused", kind, resource))

    def xds_withheld(self, kind: str) -> None:
        self.xds.append(("withheld", kind))

    def watch_opened(self) -> None:
        self.watches += 1

    def watch_closed(self) -> None:
        self.watches -= 1

    def pushed(self) -> None:
        self.pushes += 1

    def request(self, method: str, code: str, seconds: float | None = None) -> None:
        self.requests.append((method, code))


class Balancer:
    """A real server on loopback over a store that the test feeds."""

    def __init__(
        self,
        *,
        authorizer: Authorizer | None = None,
        limits: WatchLimits | None = None,
        tls: TlsFiles | None = None,
        describe: bool = True,
        bounds: Bounds | None = None,
        doors: Doors | None = None,
        port: int = 0,
    ) -> None:
        self.observer = Observer()
        self.readiness = Readiness(["test"])
        self.worker = LoopWorker()
        self.store = Store(
            ["test"],
            encoder=WireEncoder(),
            observer=self.observer,
            clock=time.monotonic,
            synced=self.readiness.synced,
            worker=self.worker,
        )
        self.feed = self.store.feeds["test"]
        self.server = GrpcServer(
            self.store,
            self.readiness,
            self.observer,
            authorizer=authorizer or Authorizer(),
            parse=ServiceName.parse,
            limits=limits or WatchLimits(max_age=0, write_timeout=30),
            listen=f"127.0.0.1:{port}",
            tls=tls,
            describe=describe,
            worker=self.worker,
            bounds=bounds,
            doors=doors,
        )
        # Not localhost: another process may listen on this port of ::1.
        self.address = f"127.0.0.1:{self.server.port}"

    def sync(self, *records: ServiceRecord) -> None:
        self.feed.replace(records, version=7, epoch="test", at=0)

    def update(self, record: ServiceRecord, version: int = 8) -> None:
        self.feed.update({record.key: record}, version=version, at=0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def watch(self, channel: grpc.aio.Channel, name: str) -> Watch:
        request = pb.WatchServersRequest(service_name=name)
        call: Watch = LoadBalancerStub(channel).WatchServers(request)
        return call


@asynccontextmanager
async def running(balancer: Balancer) -> AsyncIterator[Balancer]:
    """Start a balancer, and stop it at the end."""
    await balancer.server.start()
    try:
        yield balancer
    finally:
        await balancer.server.stop(0)


@pytest.fixture
async def balancer() -> AsyncIterator[Balancer]:
    async with running(Balancer()) as balancer:
        yield balancer


@pytest.fixture
async def channel(balancer: Balancer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(balancer.address) as channel:
        yield channel
