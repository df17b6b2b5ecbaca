"""The door over a real connection, message by message; real clients are in test_clients.py."""

import subprocess
import sys

import grpc
import msgspec
import pytest
from structlog.testing import capture_logs

from lookaside._pb.xds import discovery_pb2 as pb
from lookaside.api.authorization import Authorizer
from lookaside.api.calls import Bounds, NameBounds
from lookaside.api.server import Doors
from lookaside.api.watch import WatchLimits
from lookaside.api.xds import topics
from lookaside.api.xds.kinds import ClientKind
from lookaside.api.xds.resource import Type
from lookaside.api.xds.resources import Translation, translating
from lookaside.api.xds.validation import InvalidResource
from lookaside.model import Hints, ServiceKey, Snapshot
from lookaside.policy.topology import Place
from lookaside.registry.steps import Steps
from tests.api.conftest import Balancer, record, running
from tests.api.xds.raw import addresses, delta, node, state_of_the_world


def ask(kind: Type, *names: str, nonce: str = "", error: str = "") -> pb.DiscoveryRequest:
    refusal = pb.Status(code=3, message=error) if error else None
    return pb.DiscoveryRequest(
        type_url=kind.url,
        resource_names=names,
        response_nonce=nonce,
        error_detail=refusal,
        node=None if nonce else node(),
    )


async def test_each_type_is_answered_under_the_name_as_it_was_written(balancer: Balancer) -> None:
    balancer.sync(record("10.0.0.1"))
    name = "greeter.default.svc.cluster.local:80"
    async with state_of_the_world(balancer.address) as ads:
        for kind in Type:
            await ads.send(ask(kind, name))
            response = await ads.read()
            assert response.type_url == kind.url
            assert response.nonce == response.version_info != ""
            assert name.encode() in response.resources[0].value


async def test_a_change_of_endpoints_is_sent_as_endpoints_alone(balancer: Balancer) -> None:
    balancer.sync(record("10.0.0.1"))
    async with state_of_the_world(balancer.address) as ads:
        for kind in Type:
            await ads.send(ask(kind, "greeter"))
            await ads.read()
        balancer.update(record("10.0.0.1", "10.0.0.2"))
        assert addresses(await ads.read()) == ["10.0.0.1", "10.0.0.2"]
        balancer.update(record())
        assert addresses(await ads.read()) == []
        balancer.update(record("10.0.0.3"))
        assert addresses(await ads.read()) == ["10.0.0.3"]


async def test_equal_lists_are_sent_as_equal_bytes_to_all(balancer: Balancer) -> None:
    balancer.sync(record("10.0.0.1"))
    found = set()
    for _ in range(2):
        async with state_of_the_world(balancer.address) as ads:
            await ads.send(ask(Type.ENDPOINTS, "greeter"))
            found.add((await ads.read()).SerializeToString(deterministic=True))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("nothing", 5, "service nothing.default is not known"),
        ("Bad_Name", 3, "is not a DNS label"),
        ("greeter:nine", 3, "has no port 'nine'"),
        ("xdstp://greeter/envoy", 3, "is no port name"),
    ],
)
async def test_a_name_without_a_list_is_left_out_with_the_reason(
    balancer: Balancer, name: str, code: int, reason: str
) -> None:
    balancer.sync(record("10.0.0.1"))
    async with state_of_the_world(balancer.address) as ads:
        await ads.send(ask(Type.LISTENER, "greeter", name))
        response = await ads.read()
        assert len(response.resources) == 1
        (error,) = response.resource_errors
        assert error.resource_name.name == name
        assert error.error_detail.code == code
        assert reason in error.error_detail.message


async def test_a_service_that_appears_is_sent_and_one_that_goes_is_left_out(
    balancer: Balancer,
) -> None:
    balancer.sync()
    async with state_of_the_world(balancer.address) as ads:
        await ads.send(ask(Type.CLUSTER, "greeter"))
        assert not (await ads.read()).resources
        balancer.sync(record("10.0.0.1"))
        assert (await ads.read()).resources
        balancer.sync()
        assert not (await ads.read()).resources


async def test_by_delta_a_service_that_is_not_there_is_removed_until_it_appears(
    balancer: Balancer,
) -> None:
    balancer.sync()
    request = pb.DeltaDiscoveryRequest(
        type_url=Type.ENDPOINTS.url, resource_names_subscribe=["greeter"], node=node()
    )
    async with delta(balancer.address) as ads:
        await ads.send(request)
        assert list((await ads.read()).removed_resources) == ["greeter"]
        balancer.sync(record("10.0.0.1"))
        response = await ads.read()
        assert [one.name for one in response.resources] == ["greeter"]
        assert response.nonce == response.resources[0].version


async def test_a_port_that_is_renamed_goes_and_comes(balancer: Balancer) -> None:
    balancer.sync(record("10.0.0.1", ports=("old", "other")))
    async with state_of_the_world(balancer.address) as ads:
        await ads.send(ask(Type.LISTENER, "greeter:old", "greeter:new"))
        response = await ads.read()
        assert [error.resource_name.name for error in response.resource_errors] == ["greeter:new"]
        balancer.update(record("10.0.0.1", ports=("new", "other")))
        # Each name has a list of its own, so that one may change before the other does.
        while [error.resource_name.name for error in response.resource_errors] != ["greeter:old"]:
            response = await ads.read()
        assert len(response.resources) == 1


async def test_nothing_is_said_before_the_first_sync(balancer: Balancer) -> None:
    async with state_of_the_world(balancer.address) as ads:
        code, details = await ads.end()
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "the first list of test is still to come" in details


async def test_what_a_lost_source_no_longer_knows_is_not_said_to_be_gone(
    balancer: Balancer,
) -> None:
    balancer.sync(record("10.0.0.1"))
    async with state_of_the_world(balancer.address) as ads:
        await ads.send(ask(Type.CLUSTER, "greeter"))
        assert (await ads.read()).resources
        balancer.feed.set_stale(stale=True)
        balancer.sync()
        # A service that the lost source no longer has may exist.
        await ads.send(ask(Type.ENDPOINTS, "greeter", nonce="x"))
        assert (await ads.read()).type_url == Type.ENDPOINTS.url
        balancer.feed.set_stale(stale=False)
        response = await ads.read()
        assert (response.type_url, len(response.resources)) == (Type.CLUSTER.url, 0)


async def test_a_refusal_is_logged_with_its_reason_and_counted(balancer: Balancer) -> None:
    balancer.sync(record("10.0.0.1"))
    async with (
        state_of_the_world(balancer.address) as ads,
        state_of_the_world(balancer.address) as other,
    ):
        for each in (ads, other):
            await each.send(ask(Type.ENDPOINTS, "greeter"))
            response = await each.read()
        nonce = response.nonce
        with capture_logs() as lines:
            await ads.send(ask(Type.ENDPOINTS, "greeter", nonce=nonce, error="too green"))
            await balancer.until(lambda: bool(balancer.observer.xds))
            await balancer.until(lambda: bool(lines))
        assert [line["reason"] for line in lines] == ["too green"]
        assert balancer.observer.xds == [("refused", "c-core", "endpoints")]
        # It is not sent again, and neither is the other stream disturbed.
        balancer.update(record("10.0.0.2"))
        for each in (ads, other):
            assert addresses(await each.read()) == ["10.0.0.2"]


async def test_a_host_writes_no_more_than_a_line_a_minute_into_the_log(balancer: Balancer) -> None:
    balancer.sync(record("10.0.0.1"))
    with capture_logs() as lines:
        for number, name in enumerate(("Bad_Name", "Other_Name"), 1):
            async with state_of_the_world(balancer.address) as ads:
                await ads.send(ask(Type.ENDPOINTS, name, "greeter"))
                nonce = (await ads.read()).nonce
                await ads.send(ask(Type.ENDPOINTS, "greeter", nonce=nonce, error="no"))
                await balancer.until(lambda count=number: len(balancer.observer.xds) == count)  # type: ignore[misc]
    events = [line["event"] for line in lines]
    assert events.count("a name is refused") == 1
    assert events.count("a client refused resources, and goes on with those before") == 1


async def test_a_list_that_a_client_might_refuse_is_withheld_and_the_one_before_stays(
    balancer: Balancer, monkeypatch: pytest.MonkeyPatch
) -> None:

    def picky(
        name: str, snapshot: Snapshot, kind: ClientKind, place: Place, *, port: int
    ) -> Steps[Translation]:
        if len(snapshot.endpoints) == 2:
            raise InvalidResource("two are too many")
        return translating(name, snapshot, kind, place, port=port)

    balancer.sync(record("10.0.0.1"))
    async with state_of_the_world(balancer.address) as ads:
        await ads.send(ask(Type.ENDPOINTS, "greeter"))
        assert addresses(await ads.read()) == ["10.0.0.1"]
        monkeypatch.setattr(topics, "translating", picky)
        balancer.update(record("10.0.0.1", "10.0.0.2"))
        await balancer.until(lambda: balancer.observer.xds == [("withheld", "c-core")])
        balancer.update(record("10.0.0.3"))
        assert addresses(await ads.read()) == ["10.0.0.3"]


async def test_a_first_list_that_might_be_refused_holds_up_no_other(
    balancer: Balancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(
        name: str, snapshot: Snapshot, kind: ClientKind, place: Place, *, port: int
    ) -> Steps[Translation]:
        if name == "odd":
            raise InvalidResource("it is odd")
        return translating(name, snapshot, kind, place, port=port)

    monkeypatch.setattr(topics, "translating", picky)
    odd = ServiceKey("default", "odd")
    balancer.sync(record("10.0.0.1"), record("10.0.0.1", key=odd))
    async with state_of_the_world(balancer.address) as ads:
        await ads.send(ask(Type.CLUSTER, "greeter", "odd"))
        response = await ads.read()
        assert len(response.resources) == 1
        (error,) = response.resource_errors
        assert error.error_detail.message == "it is odd"


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        (NameBounds(stream=3), "a stream may ask for 3 names, and no more"),
        (NameBounds(total=3), "3 names are asked for, and no more are taken"),
    ],
)
async def test_a_stream_that_asks_for_more_names_than_are_taken_is_ended(
    bounds: NameBounds, text: str
) -> None:
    async with running(Balancer(bounds=Bounds(names=bounds))) as balancer:
        balancer.sync(record("10.0.0.1"))
        for _ in range(2):
            async with state_of_the_world(balancer.address) as ads:
                await ads.send(ask(Type.LISTENER, "a", "b", "c"))
                await ads.read()
                await ads.send(ask(Type.ROUTE, "a", "b", "c", "d"))
                assert await ads.end() == (grpc.StatusCode.RESOURCE_EXHAUSTED, text)
            # The client hears of the end before the server has cleaned up.
            await balancer.until(lambda: balancer.store.watchers == 0)


async def test_a_stream_leaves_nothing_behind(balancer: Balancer) -> None:
    balancer.sync(record("10.0.0.1"))
    async with state_of_the_world(balancer.address) as ads:
        await ads.send(ask(Type.LISTENER, "greeter", "nothing"))
        await ads.read()
        assert balancer.store.watchers == 2
        await ads.send(ask(Type.LISTENER, "greeter", nonce="x"))
        await balancer.until(lambda: balancer.store.watchers == 1)
    await balancer.until(lambda: balancer.store.watchers == 0)
    await balancer.until(lambda: not balancer.server.calls.open("AggregatedDiscoveryService"))


async def test_a_caller_gets_what_it_may_ask_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    authorizer = Authorizer()
    grant = msgspec.structs.replace(await authorizer.grant(None), namespaces=frozenset({"a"}))  # type: ignore[arg-type]

    async def granting(_: object) -> object:
        return grant

    monkeypatch.setattr(authorizer, "grant", granting)
    async with running(Balancer(authorizer=authorizer)) as balancer:
        keys = ServiceKey("a", "x"), ServiceKey("b", "x")
        balancer.sync(*(record("10.0.0.1", key=key) for key in keys))
        async with state_of_the_world(balancer.address) as ads:
            await ads.send(ask(Type.LISTENER, "x.a", "x.b"))
            response = await ads.read()
            assert len(response.resources) == 1
            (error,) = response.resource_errors
            assert error.resource_name.name == "x.b"
            assert error.error_detail.code == grpc.StatusCode.PERMISSION_DENIED.value[0]


@pytest.mark.parametrize(
    ("zone", "metadata", "expected"),
    [
        ("a", {}, ["10.0.0.1"]),
        ("", {"zone": "b"}, ["10.0.0.2"]),
        ("a", {"node": "n2"}, ["10.0.0.1"]),
        ("", {}, ["10.0.0.1", "10.0.0.2"]),
    ],
)
async def test_hints_go_by_the_zone_of_the_client(
    balancer: Balancer, zone: str, metadata: dict[str, str], expected: list[str]
) -> None:
    hinted = msgspec.structs.replace(
        record("10.0.0.1", "10.0.0.2"), hints={"": (Hints(("a",)), Hints(("b",)))}
    )
    balancer.sync(hinted)
    async with state_of_the_world(balancer.address) as ads:
        request = ask(Type.ENDPOINTS, "greeter")
        request.node.CopyFrom(node(in_zone=zone, **metadata))
        await ads.send(request)
        assert addresses(await ads.read()) == expected


async def test_where_endpoints_are_of_nodes_a_client_gets_those_of_its_own(
    balancer: Balancer,
) -> None:
    whole = record("10.0.0.1", "10.0.0.2")
    own = {"": {"n1": whole.endpoints[""][:1]}}
    balancer.sync(msgspec.structs.replace(whole, own=own))
    for name, expected in (("n1", ["10.0.0.1"]), ("n2", [])):
        async with state_of_the_world(balancer.address) as ads:
            request = ask(Type.ENDPOINTS, "greeter")
            request.node.CopyFrom(node(node=name))
            await ads.send(request)
            assert addresses(await ads.read()) == expected


async def test_a_type_that_is_not_served_is_passed_over(balancer: Balancer) -> None:
    balancer.sync(record("10.0.0.1"))
    async with state_of_the_world(balancer.address) as ads:
        await ads.send(pb.DiscoveryRequest(type_url="type.googleapis.com/x.Secret", node=node()))
        await ads.send(ask(Type.ENDPOINTS, "greeter", nonce="x"))
        assert addresses(await ads.read()) == ["10.0.0.1"]


async def test_a_stream_is_ended_at_its_age_for_its_client_to_come_back() -> None:
    limits = WatchLimits(max_age=0.2, write_timeout=30)
    async with running(Balancer(limits=limits)) as balancer:
        balancer.sync(record("10.0.0.1"))
        async with state_of_the_world(balancer.address) as ads:
            assert (await ads.end())[0] is grpc.StatusCode.OK


async def test_the_door_can_be_closed() -> None:
    async with running(Balancer(doors=Doors(xds=False))) as balancer:
        balancer.sync(record("10.0.0.1"))
        async with state_of_the_world(balancer.address) as ads:
            assert (await ads.end())[0] is grpc.StatusCode.UNIMPLEMENTED


def test_what_the_door_needs_is_imported_for_the_first_client() -> None:
    program = (
        "import sys, lookaside.api.server; "
        "print([name for name in sys.modules if name.startswith('lookaside._pb.xds')])"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
