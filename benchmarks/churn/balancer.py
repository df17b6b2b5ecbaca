"""The service as it is run, over a cluster that the benchmark changes."""

import random
import time
from collections.abc import Callable, Iterable

from lookaside.api.authorization import Authorizer
from lookaside.api.server import GrpcServer
from lookaside.api.watch import WatchLimits
from lookaside.api.wire import WireEncoder
from lookaside.api.worker import LoopWorker
from lookaside.metrics import Metrics
from lookaside.model import ServiceKey, ServiceName, ServicePort
from lookaside.registry.cluster import Cluster
from lookaside.registry.readiness import Readiness
from lookaside.registry.slices import Service, Slice, SliceEndpoint, SlicePort
from lookaside.registry.store import Store

_SLICE = 100
_PORTS = (SlicePort("grpc", 50051),)


class Balancer:
    """A balancer with services of one length.

    Args:
        size: How many endpoints each has.
        services: Their names.

    Attributes:
        server: The gRPC server.
    """

    def __init__(self, size: int, services: Iterable[str]) -> None:
        self._chance = random.Random(size)  # the same lists each time
        self._version = 1
        self._made = 0
        self._cluster = Cluster()
        self._slices: dict[str, list[Slice]] = {}
        readiness = Readiness(["cluster"])
        metrics = Metrics("benchmark")
        worker = LoopWorker()
        store = Store(
            ["cluster"],
            encoder=WireEncoder(),
            observer=metrics,
            clock=time.monotonic,
            synced=readiness.synced,
            worker=worker,
        )
        self._feed = store.feeds["cluster"]
        for name in services:
            self._fill(name, size)
        self._feed.replace(self._cluster.records(), version=1, epoch="e", at=time.monotonic())
        self._cluster.touched()
        self.server = GrpcServer(
            store,
            readiness,
            metrics,
            authorizer=Authorizer(),
            parse=ServiceName.parse,
            limits=WatchLimits(max_age=0, write_timeout=120),
            listen="127.0.0.1:0",
            tls=None,
            describe=False,
            worker=worker,
        )

    def prepare(self, service: str) -> Callable[[], None]:
        """Return what replaces one endpoint of a service."""
        slices = self._slices[service]
        index = self._chance.randrange(len(slices))
        old = slices[index]
        endpoints = list(old.endpoints)
        endpoints[self._chance.randrange(len(endpoints))] = self._endpoint()
        new = slices[index] = Slice(
            old.service, old.name, old.address_type, old.ports, tuple(endpoints)
        )

        def change() -> None:
            at = time.monotonic()
            self._version += 1
            self._cluster.set_slice(new)
            self._feed.update(self._cluster.touched(), version=self._version, at=at)

        return change

    def _fill(self, name: str, size: int) -> None:
        key = ServiceKey("default", name)
        self._cluster.set_service(Service(key, (ServicePort("grpc", 80),)))
        self._slices[name] = []
        for start in range(0, size, _SLICE):
            endpoints = tuple(self._endpoint() for _ in range(min(_SLICE, size - start)))
            made = Slice(key, f"{name}-{start}", "IPv4", _PORTS, endpoints)
            self._slices[name].append(made)
            self._cluster.set_slice(made)

    def _endpoint(self) -> SliceEndpoint:
        # A bijection of the counter: addresses without repetition, in no order.
        self._made += 1
        mixed = self._made * 0x9E3779B1 & 0xFFFFFF
        return SliceEndpoint(
            f"10.{mixed >> 16}.{mixed >> 8 & 255}.{mixed & 255}",
            zone=f"eu-1{'abc'[mixed % 3]}",
            node=f"node-{mixed % 500}",
            target_uid=f"00000000-0000-0000-0000-{mixed:012x}",
            target_name=f"greeter-7d9f8b6c5d-{mixed:06x}",
            target_kind="Pod",
        )
