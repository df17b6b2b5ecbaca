"""Clients as users have them: grpcio that dials xds:///, sync and aio. test_envoy.py has Envoy."""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from client_resolver.testing.server import reserve_port
from lookaside._pb.xds import discovery_pb2 as pb
from lookaside.api.xds.resource import Type
from lookaside.model import Endpoint, ServiceKey, ServicePort, ServiceRecord
from tests.api.conftest import Balancer, running
from tests.api.xds.raw import node, state_of_the_world

KEY = ServiceKey("shop", "greeter")
BACKENDS = 20
REQUESTS = 10_000
CHANGES = 1_000
BOUND = 60.0

shells = pytest.mark.parametrize("shell", ["sync", "aio"])


class Ports:
    """Ports that are free, as long as this is there."""

    def reserve(self) -> int:
        return reserve_port(self)


@dataclass
class Outcome:
    """What came of requests.

    Attributes:
        answers: How many each backend has answered, by its port.
        errors: How many failed, by code and details.
        connections: A text for each connection of each backend that was used.
    """

    answers: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    connections: Sequence[str] = ()


class Client:
    """A process of `tests.api.xds.dialling`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, what: str, shell: str, target: str, **more: object) -> Outcome:
        assert self._process.stdin
        assert self._process.stdout
        asked = {"do": what, "shell": shell, "target": target, **more}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        async with asyncio.timeout(BOUND):
            line = await self._process.stdout.readline()
        return Outcome(**json.loads(line))

    async def call(
        self, shell: str, target: str, requests: int = 50, *, wait: bool = True
    ) -> Outcome:
        return await self.do("call", shell, target, requests=requests, wait=wait)

    async def until(self, shell: str, target: str, backends: set[str]) -> Outcome:
        """Call until these backends answer, all of them and no other."""
        async with asyncio.timeout(BOUND):
            while True:
                outcome = await self.call(shell, target, 30, wait=False)
                if not outcome.errors and outcome.answers.keys() == backends:
                    return outcome


@asynccontextmanager
async def program(module: str, *arguments: str, **environ: str) -> AsyncIterator[Client]:
    """Run a module of the tests until the end of the context, which is that of its input."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_VERBOSITY": "NONE", **environ},
    )
    try:
        yield Client(process)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture(scope="module")
async def backends() -> AsyncIterator[list[str]]:
    """The ports of some backends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.api.xds.backends", str(BACKENDS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(BOUND):
            yield [(await process.stdout.readline()).decode().strip() for _ in range(BACKENDS)]
    finally:
        process.kill()
        await process.wait()


def bootstrap(port: int) -> str:
    server = {"server_uri": f"127.0.0.1:{port}", "channel_creds": [{"type": "insecure"}]}
    return json.dumps({"xds_servers": [server], "node": {"id": "test"}})


def listed(weights: Mapping[str, int], key: ServiceKey = KEY) -> ServiceRecord:
    endpoints = (Endpoint("127.0.0.1", int(port), weight) for port, weight in weights.items())
    return ServiceRecord(key, (ServicePort("", 80),), {"": tuple(sorted(endpoints))})


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Balancer]:
    """A balancer that all clients here share; each test has a service of its own."""
    async with running(Balancer()) as balancer:
        balancer.sync()
        yield balancer


@pytest.fixture(scope="module")
async def client(served: Balancer) -> AsyncIterator[Client]:
    environ = {
        "GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap(served.server.port),
        # With it, C-core takes the reason for which a name has no list at once (gRFC A88).
        "GRPC_EXPERIMENTAL_XDS_DATA_ERROR_HANDLING": "true",
    }
    async with program("tests.api.xds.dialling", **environ) as client:
        yield client


@shells
async def test_endpoints_arrive_and_so_do_changes(
    served: Balancer, client: Client, backends: list[str], shell: str
) -> None:
    key = ServiceKey("shop", f"changing-{shell}")
    target = f"xds:///{key}:80"
    served.update(listed(dict.fromkeys(backends[:2], 100), key))
    assert (await client.call(shell, target)).answers.keys() == set(backends[:2])
    served.update(listed(dict.fromkeys(backends[1:3], 100), key))
    await client.until(shell, target, set(backends[1:3]))


@shells
async def test_a_service_goes_to_zero_endpoints_and_comes_back(
    served: Balancer, client: Client, backends: list[str], shell: str
) -> None:
    key = ServiceKey("shop", f"empty-{shell}")
    target = f"xds:///{key}"
    served.update(listed({backends[0]: 100}, key))
    await client.call(shell, target)
    served.update(listed({}, key))
    async with asyncio.timeout(BOUND):
        while not (outcome := await client.call(shell, target, 10, wait=False)).errors:
            pass
    assert {text.partition(":")[0] for text in outcome.errors} == {"UNAVAILABLE"}
    served.update(listed({backends[1]: 100}, key))
    await client.until(shell, target, {backends[1]})


@shells
async def test_a_name_that_is_not_known_fails_with_the_reason_and_is_there_when_the_service_is(
    served: Balancer, client: Client, backends: list[str], shell: str
) -> None:
    key = ServiceKey("shop", f"late-{shell}")
    target = f"xds:///{key}"
    outcome = await client.call(shell, target, 1, wait=False)
    ((error, _),) = outcome.errors.items()
    assert error.startswith("UNAVAILABLE")
    assert f"service {key} is not known" in error
    served.update(listed({backends[0]: 100}, key))
    await client.until(shell, target, {backends[0]})


async def test_weights_hold_within_two_percent_and_across_a_change(
    served: Balancer, client: Client, backends: list[str]
) -> None:
    key = ServiceKey("shop", "weighted")
    target = f"xds:///{key}"
    for weights in ((100, 200, 500), (500, 100, 200)):
        wanted = dict(zip(backends, weights, strict=False))
        served.update(listed(wanted, key))
        async with asyncio.timeout(BOUND):
            # A change of weights can be seen in shares alone.
            while True:
                some = await client.call("sync", target, 200)
                if max(some.answers, key=lambda one: some.answers[one]) == max(
                    wanted, key=lambda one: wanted[one]
                ):
                    break
        outcome = await client.call("sync", target, REQUESTS)
        assert not outcome.errors
        for port, weight in wanted.items():
            assert abs(outcome.answers[port] / REQUESTS - weight / sum(weights)) < 0.02


@pytest.mark.skip(reason="in some runs, a minute passes without all 20 answering; why is open")
async def test_a_thousand_changes_of_all_weights_make_no_connection(
    served: Balancer, client: Client, backends: list[str]
) -> None:
    key = ServiceKey("shop", "restless")
    target = f"xds:///{key}"
    served.update(listed(dict.fromkeys(backends, 100), key))
    first = await client.until("sync", target, set(backends))
    assert len(first.connections) == BACKENDS
    await client.do("begin", "sync", target)
    chance = random.Random(1)
    for _ in range(CHANGES):
        pushes = served.observer.pushes
        served.update(listed({port: chance.randint(1, 1000) for port in backends}, key))
        # Each is to be sent: of changes that come faster, a stream gets the newest alone.
        await served.until(lambda pushes=pushes: served.observer.pushes > pushes)  # type: ignore[misc]
    outcome = await client.do("end", "sync", target)
    assert not outcome.errors
    assert set(outcome.connections) <= set(first.connections)


async def test_another_client_that_refuses_a_list_keeps_nobody_from_it(
    served: Balancer, client: Client, backends: list[str]
) -> None:
    key = ServiceKey("shop", "refused")
    target = f"xds:///{key}"
    served.update(listed({backends[0]: 100}, key))
    await client.until("sync", target, {backends[0]})
    async with state_of_the_world(served.address) as other:
        ask = pb.DiscoveryRequest(
            type_url=Type.ENDPOINTS.url, resource_names=[str(key)], node=node()
        )
        await other.send(ask)
        ask.response_nonce = (await other.read()).nonce
        ask.error_detail.message = "no"
        await other.send(ask)
        await served.until(lambda: ("refused", "c-core", "endpoints") in served.observer.xds)
        served.update(listed({backends[1]: 100}, key))
        await client.until("sync", target, {backends[1]})


async def test_a_restart_of_the_service_fails_no_request(backends: list[str]) -> None:
    ports = Ports()  # it stays free between the two
    port = ports.reserve()
    async with running(Balancer(port=port)) as balancer:
        balancer.sync(listed(dict.fromkeys(backends[:2], 100)))
        config = {"GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap(port)}
        async with program("tests.api.xds.dialling", **config) as client:
            target = f"xds:///{KEY}"
            await client.until("sync", target, set(backends[:2]))
            await client.do("begin", "sync", target)
            await balancer.server.stop(0)
            assert not (await client.call("sync", target, 200, wait=False)).errors
            async with running(Balancer(port=port)) as again:
                # What comes before the first sync is refused, and asked for again.
                await again.until(lambda: bool(again.observer.requests))
                again.sync(listed(dict.fromkeys(backends[1:3], 100)))
                await client.until("sync", target, set(backends[1:3]))
                outcome = await client.do("end", "sync", target)
    assert not outcome.errors
    # The requests made beside it take turns with these, so that few may miss one of the three.
    assert outcome.answers.keys() <= set(backends[:3])
    assert outcome.answers
