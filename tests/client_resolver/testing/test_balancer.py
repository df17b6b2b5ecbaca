"""The balancer, looked at with the stub that every client of Lookaside has."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from client_resolver import testing
from client_resolver._pb import lookaside_pb2, lookaside_pb2_grpc
from client_resolver.resolver import Server

ONE, TWO = "127.0.0.1:1001", "127.0.0.1:1002"


@pytest.fixture
def balancer() -> Iterator[testing.Balancer]:
    with testing.Balancer() as one:
        yield one


@pytest.fixture
def stub(balancer: testing.Balancer) -> Iterator[lookaside_pb2_grpc.LoadBalancerStub]:
    with grpc.insecure_channel(balancer.address) as channel:
        yield lookaside_pb2_grpc.LoadBalancerStub(channel)


def watch(
    stub: lookaside_pb2_grpc.LoadBalancerStub, service: str = "greeter", **request: Any
) -> Any:
    asked = lookaside_pb2.WatchServersRequest(service_name=service, **request)
    return stub.WatchServers(asked, timeout=20, wait_for_ready=True)


def told(messages: Any) -> list[tuple[str, int, str]]:
    return [(s.address, s.weight, s.locality.zone) for s in next(messages).servers]


def test_a_target_names_the_balancer_and_the_service(balancer: testing.Balancer) -> None:
    assert balancer.target("greeter.shop") == f"lookaside://{balancer.address}/greeter.shop"


def test_a_list_is_told_at_once_and_after_each_change(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    balancer.serve("greeter", [TWO, ONE], weights=[1, 3], zones=["a", "b"])
    messages = watch(stub)
    assert told(messages) == [(ONE, 3, "b"), (TWO, 1, "a")]
    balancer.remove("greeter", ONE)
    assert told(messages) == [(TWO, 1, "a")]
    balancer.add("greeter", Server(ONE, weight=0, zone="c"))
    assert told(messages) == [(ONE, 0, "c"), (TWO, 1, "a")]


def test_backends_of_a_test_are_listed_as_they_are(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    with testing.Backends(2) as backends:
        balancer.serve("greeter", backends)
        assert {address for address, _, _ in told(watch(stub))} == {b.address for b in backends}


def test_all_that_is_known_of_a_server_is_told(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    server = Server(ONE, weight=2, zone="a", node="n", metadata={"version": "v2"})
    balancer.serve("greeter", [server], service_config={"loadBalancingPolicy": "random"})
    message = next(watch(stub))
    (listed,) = message.servers
    assert (listed.weight, listed.locality.node, listed.metadata) == (2, "n", {"version": "v2"})
    assert message.service_config == '{"loadBalancingPolicy": "random"}'


def test_services_that_are_empty_unknown_or_forgotten_are_told_apart(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    messages = watch(stub)
    states = [next(messages).state]
    balancer.serve("greeter", [])
    states.append(next(messages).state)
    balancer.serve("greeter", [ONE])
    states.append(next(messages).state)
    balancer.forget("greeter")
    states.append(next(messages).state)
    assert [lookaside_pb2.State.Name(state) for state in states] == [
        *("STATE_ABSENT", "STATE_EMPTY", "STATE_PRESENT", "STATE_ABSENT")
    ]


def test_a_silent_balancer_says_nothing_of_what_was_not_set() -> None:
    with (
        testing.Balancer(silent=True) as balancer,
        grpc.insecure_channel(balancer.address) as channel,
    ):
        messages = watch(lookaside_pb2_grpc.LoadBalancerStub(channel))
        balancer.wait_for_watches(1)
        balancer.serve("other", [TWO])
        balancer.serve("greeter", [ONE])
        assert told(messages) == [(ONE, 1, "")]


def test_a_client_that_holds_the_list_is_told_of_changes_alone(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    balancer.serve("greeter", [ONE])
    first = next(watch(stub))
    messages = watch(stub, known=first.revision)
    balancer.wait_for_requests(2)
    balancer.serve("greeter", [TWO])
    second = next(messages)
    assert [server.address for server in second.servers] == [TWO]
    assert second.revision.version > first.revision.version
    assert second.revision.epoch == first.revision.epoch


def test_what_clients_ask_is_kept(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    asked = lookaside_pb2.WatchServersRequest(service_name="greeter", subset_size=2)
    call = stub.WatchServers(asked, timeout=20, metadata=(("authorization", "Bearer t"),))
    balancer.wait_for_watches(1)
    assert balancer.requests == [asked]
    assert balancer.metadata[0]["authorization"] == "Bearer t"
    call.cancel()
    balancer.wait_for_watches(0)


def test_a_balancer_that_fails_ends_all_watches_until_it_recovers(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    balancer.serve("greeter", [ONE])
    messages = watch(stub)
    assert told(messages) == [(ONE, 1, "")]
    balancer.fail(grpc.StatusCode.PERMISSION_DENIED, "not you")
    for ended in (messages, watch(stub)):
        with pytest.raises(grpc.RpcError, match="not you"):
            next(ended)
    balancer.recover()
    assert told(watch(stub)) == [(ONE, 1, "")]


def test_watches_can_be_ended_in_good_order(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    balancer.serve("greeter", [ONE])
    messages = watch(stub)
    assert told(messages) == [(ONE, 1, "")]
    balancer.end_watches()
    assert list(messages) == []
    assert told(watch(stub)) == [(ONE, 1, "")]


@pytest.mark.parametrize("grace", [None, 20.0])
def test_a_balancer_comes_back_on_its_port_with_its_lists(
    grace: float | None, balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    balancer.serve("greeter", [ONE])
    messages = watch(stub)
    assert told(messages) == [(ONE, 1, "")]
    balancer.stop(grace)
    balancer.wait_for_watches(0)
    balancer.restart()
    assert told(watch(stub)) == [(ONE, 1, "")]


def test_any_message_may_be_said(
    balancer: testing.Balancer, stub: lookaside_pb2_grpc.LoadBalancerStub
) -> None:
    balancer.publish("", lookaside_pb2.WatchServersResponse(state="STATE_STALE"))
    assert next(watch(stub)).state == lookaside_pb2.STATE_STALE


def test_as_many_weights_as_backends_are_wanted(balancer: testing.Balancer) -> None:
    with pytest.raises(ValueError, match="zip"):
        balancer.serve("greeter", [ONE, TWO], weights=[1])


def test_what_is_not_listed_cannot_be_removed(balancer: testing.Balancer) -> None:
    balancer.serve("greeter", [ONE])
    with pytest.raises(KeyError, match=TWO):
        balancer.remove("greeter", TWO)


def test_watches_that_do_not_come_are_told_after_the_timeout(balancer: testing.Balancer) -> None:
    with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 1 open watches"):
        balancer.wait_for_watches(1, timeout=0.01)
