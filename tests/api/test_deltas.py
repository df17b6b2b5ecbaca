"""Deltas over the wire: what a client makes of them is what a whole list says."""

import asyncio
from collections.abc import Sequence

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from lookaside.model import Endpoint, ServiceName, ServicePort, ServiceRecord
from tests.api.conftest import KEY, Balancer, Watch, record

Servers = list[pb.Server]

endpoints = st.builds(
    Endpoint,
    st.sampled_from(("10.0.0.1", "10.0.0.2", "10.0.0.10", "fd00::1")),
    st.sampled_from((1, 2, 10)),
    weight=st.integers(0, 2),
)
# Long lists in the main: a delta that is larger than its list is not sent.
lists = st.lists(endpoints, min_size=6, max_size=12, unique_by=lambda one: one.target)
pauses = st.sampled_from(("none", "short", "until all have it"))
Step = tuple[list[Endpoint] | None, bool, str]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(lists | lists | lists | st.just([]) | st.none(), st.booleans(), pauses),
    min_size=3,
    max_size=12,
)


class Client:
    """A watch, and the list that it has made of its messages.

    Attributes:
        messages: All of them.
        servers: The list, by address.
        digest: The list's digest.
    """

    def __init__(self, call: Watch, expected: dict[str, Servers]) -> None:
        self.messages: list[pb.WatchServersResponse] = []
        self.servers: dict[str, pb.Server] = {}
        self.digest = ""
        self._expected = expected
        self._call = call
        self._changed = asyncio.Condition()

    async def follow(self) -> None:
        async for message in self._call:
            assert isinstance(message, pb.WatchServersResponse)
            async with self._changed:
                self._apply(message)
                self._changed.notify_all()

    async def has(self, digest: str) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.digest == digest)

    def _apply(self, message: pb.WatchServersResponse) -> None:
        self.messages.append(message)
        if message.HasField("delta"):
            assert message.delta.base == self.digest
            for address in message.delta.removed:
                del self.servers[address]
        else:
            self.servers = {}
        self.servers.update({server.address: server for server in message.servers})
        self.digest = message.revision.digest
        assert sorted(self.servers.values(), key=_place) == self._expected[self.digest]


def _place(server: pb.Server) -> tuple[str, int]:
    host, _, port = server.address.rpartition(":")
    return host.strip("[]"), int(port)


async def read(call: Watch) -> pb.WatchServersResponse:
    message = await call.read()
    assert isinstance(message, pb.WatchServersResponse)
    return message


def a_record(some: Sequence[Endpoint]) -> ServiceRecord:
    return ServiceRecord(KEY, (ServicePort("", 80),), {"": tuple(sorted(some))})


# Each example waits for a state that no other leaves behind: one balancer serves them all.
@settings(
    max_examples=60,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.function_scoped_fixture),
)
@given(history=steps)
async def test_a_client_that_applies_deltas_has_what_one_that_takes_whole_lists_has(
    balancer: Balancer,
    channel: grpc.aio.Channel,
    history: list[Step],
) -> None:
    balancer.feed.set_stale(False)
    balancer.sync(record("10.0.0.1"))
    expected: dict[str, Servers] = {}
    told: list[str] = []

    def tell() -> None:
        # At once, when it is woken: the clients' tasks run after that.
        taken = probe.take()
        probe.written()
        if taken is not None:
            assert isinstance(taken, bytes)
            message = pb.WatchServersResponse.FromString(taken)
            expected[message.revision.digest] = list(message.servers)
            told.append(message.revision.digest)

    async def digest() -> str:
        await balancer.until(lambda: "0 keys busy" in repr(balancer.worker))
        return told[-1]

    probe = balancer.store.subscribe(ServiceName(KEY), tell)
    await digest()
    requests = [
        pb.WatchServersRequest(service_name="greeter", deltas=deltas)
        for deltas in (True, True, False)
    ]
    stub = LoadBalancerStub(channel)
    clients = [Client(stub.WatchServers(request), expected) for request in requests]
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(client.follow()) for client in clients]
        for version, (some, stale, pause) in enumerate(history, start=8):
            balancer.feed.set_stale(stale)
            await digest()
            change = None if some is None else a_record(some)
            balancer.feed.update({KEY: change}, version=version, at=0)
            now = await digest()
            if pause == "until all have it":
                await asyncio.gather(*(client.has(now) for client in clients))
            elif pause == "short":
                await asyncio.sleep(0)
        now = await digest()
        await asyncio.gather(*(client.has(now) for client in clients))
        for task in following:
            task.cancel()
    probe.close()
    assert not any(message.HasField("delta") for message in clients[-1].messages)


async def test_a_delta_names_its_base_and_what_changed_and_no_more(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    many = [f"10.0.0.{n}" for n in range(100)]
    balancer.sync(record(*many))
    request = pb.WatchServersRequest(service_name="greeter", deltas=True)
    call = LoadBalancerStub(channel).WatchServers(request)
    first = await read(call)
    assert not first.HasField("delta")
    balancer.update(record(*many[1:], "10.0.1.1"), version=9)
    second = await read(call)
    assert second == pb.WatchServersResponse(
        servers=[pb.Server(address="10.0.1.1:50051", weight=100, health=pb.HEALTH_READY)],
        revision=pb.Revision(digest=second.revision.digest, version=9, epoch="test"),
        state=pb.STATE_PRESENT,
        service="greeter.default",
        delta=pb.Delta(base=first.revision.digest, removed=["10.0.0.0:50051"]),
    )


async def test_who_comes_back_with_the_list_that_it_has_is_sent_the_next_change_alone(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1", "10.0.0.2"))
    stub = LoadBalancerStub(channel)
    known = (await stub.GetServers(pb.GetServersRequest(service_name="greeter"))).revision
    request = pb.WatchServersRequest(service_name="greeter", known=known, deltas=True)
    opened = asyncio.Event()
    balancer.observer.watch_opened = opened.set  # type: ignore[method-assign]
    call = stub.WatchServers(request)
    await opened.wait()
    balancer.update(record("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    message = await read(call)
    assert message.delta.base == known.digest
    assert [server.address for server in message.servers] == ["10.0.0.3:50051"]


async def test_a_client_of_the_first_proto_gets_whole_lists(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1", "10.0.0.2"))
    call = balancer.watch(channel, "greeter")
    counts = []
    for last in range(3, 6):
        message = await read(call)
        assert not message.HasField("delta")
        counts.append(len(message.servers))
        balancer.update(record(*(f"10.0.0.{n}" for n in range(1, last + 1))))
    assert counts == [2, 3, 4]
