"""Load reports out of band (gRFC A51): read on the backends' own connections, in both shells."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator

import grpc
import pytest

import client_resolver
from client_resolver.testing import Backends, Balancer, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import SERVICE, calls, connected, listed, policy, snapshot

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

OUT_OF_BAND = policy(
    "weighted_round_robin",
    backendMetrics=True,
    oobReportingPeriod="0.1s",
    blackoutPeriod="0s",
    weightUpdatePeriod="0.1s",
)


Passed = Callable[[int], Awaitable[None]]


@pytest.fixture
def passed(fleet: Fleet) -> Iterator[Passed]:
    """Waits until so many reporting periods have passed for another channel and its backend."""
    (backend,) = fleet(1)
    backend.report(qps=1, application_utilization=0.5)
    with client_resolver.insecure_channel(
        f"static:///{backend.address}", service_config=OUT_OF_BAND
    ) as channel:
        grpc.channel_ready_future(channel).result(timeout=20)

        async def passed(count: int) -> None:
            # A synchronous channel begins a stream in each period.
            until = backend.load_streams_begun + count
            await eventually(lambda: backend.load_streams_begun >= until)

        yield passed


def reported(client: Client) -> int:
    return sum(one.load is not None for one in snapshot(client).backends)


async def test_shares_follow_what_the_backends_report_without_any_rpc(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    backends[0].report(qps=100, application_utilization=0.2)
    backends[1].report(qps=100, application_utilization=0.8)
    client = connect(backends.target, service_config=OUT_OF_BAND)
    await connected(client, 2)
    await eventually(lambda: reported(client) == 2)
    async with asyncio.timeout(20):
        while backends.calls != [8, 2]:
            backends.clear_calls()
            await calls(client, 10)
    backends[0].report(qps=100, application_utilization=0.8)
    backends[1].report(qps=100, application_utilization=0.2)
    async with asyncio.timeout(20):
        while backends.calls != [2, 8]:
            backends.clear_calls()
            await calls(client, 10)


async def test_a_backend_that_has_no_such_service_is_asked_once_and_told_of_once(
    fleet: Fleet, connect: Connect, passed: Passed, caplog: pytest.LogCaptureFixture
) -> None:
    backends = fleet(2)
    client = connect(backends.target, service_config=OUT_OF_BAND)
    with caplog.at_level(logging.WARNING, "client_resolver"):
        await connected(client, 2)
        await eventually(lambda: [one.load_streams_begun for one in backends] == [1, 1])
        backends[0].report(qps=1, application_utilization=0.5)
        await passed(5)
    assert [one.load_streams_begun for one in backends] == [1, 1]
    told = [text for text in caplog.messages if "load reports" in text]
    assert len(told) == 1
    assert "oobReportingPeriod" in told[0]


async def test_a_stream_that_ends_is_begun_again(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(1)
    backends[0].report(qps=1, application_utilization=0.5)
    client = connect(backends.target, service_config=OUT_OF_BAND)
    await connected(client, 1)
    await eventually(lambda: reported(client) == 1)
    backends[0].end_load_streams()
    backends[0].report(qps=7, application_utilization=0.5)
    begun = backends[0].load_streams_begun
    await eventually(lambda: backends[0].load_streams_begun > begun)
    address = backends[0].address

    def qps() -> float:
        load = listed(client)[address].load
        return 0.0 if load is None else load.qps

    await eventually(lambda: qps() == 7)


async def test_streams_end_with_their_backend_their_policy_and_their_channel(
    fleet: Fleet, lister: Balancer, connect: Connect, passed: Passed
) -> None:
    await passed(1)
    threads = set(threading.enumerate())
    backends = fleet(3)
    for backend in backends:
        backend.report(qps=1, application_utilization=0.5)
    lister.serve(SERVICE, backends, service_config=OUT_OF_BAND)
    client = connect(lister.target(SERVICE))
    await connected(client, 3)
    await eventually(lambda: reported(client) == 3)

    async def asked_no_more(*indexes: int) -> None:
        # What was under way may still arrive. Who goes on asking does so in each period.
        async with asyncio.timeout(20):
            begun: list[int] | None = None
            while begun != (begun := [backends[i].load_streams_begun for i in indexes]):
                await passed(3)
        assert not any(backends[i].load_streams for i in indexes)

    lister.remove(SERVICE, backends[2])
    await eventually(lambda: len(listed(client)) == 2)
    await asked_no_more(2)
    lister.serve(SERVICE, backends[:2], service_config=policy("round_robin"))
    await eventually(lambda: snapshot(client).policy == "round_robin")
    await asked_no_more(0, 1, 2)
    lister.serve(SERVICE, backends[:2], service_config=OUT_OF_BAND)
    begun = backends[0].load_streams_begun
    await eventually(lambda: backends[0].load_streams_begun > begun)
    await client.close()
    await asked_no_more(0, 1, 2)
    since = set(threading.enumerate()) - threads
    assert not [t for t in since if t.name == "lookaside-load-reports"]


async def test_it_takes_no_thread_for_each_backend(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(4)
    for backend in backends:
        backend.report(qps=1, application_utilization=0.5)
    client = connect(backends.target, service_config=OUT_OF_BAND)
    await connected(client, 4)
    await eventually(lambda: reported(client) == 4)
    names = [t.name for t in threading.enumerate()]
    assert names.count("lookaside-load-reports") <= 1
