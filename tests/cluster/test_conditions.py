"""What the conditions of endpoints mean, those that are left out too."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from lookaside._pb import lookaside_pb2 as pb
from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, body, catch_up, endpoint
from tests.cluster.objects import Namespace
from tests.cluster.watches import Message, Watch

PodAddress = Callable[[], str]
Conditions = dict[str, bool]

_ALONE: Final[list[tuple[Conditions | None, int]]] = [
    (None, pb.HEALTH_READY),
    ({}, pb.HEALTH_READY),
    ({"serving": True, "terminating": False}, pb.HEALTH_READY),
    ({"ready": True, "serving": False}, pb.HEALTH_READY),
    ({"ready": True, "terminating": True}, pb.HEALTH_READY),
    ({"ready": False}, pb.HEALTH_UNSPECIFIED),
    ({"ready": False, "serving": True, "terminating": False}, pb.HEALTH_UNSPECIFIED),
    ({"ready": False, "serving": False, "terminating": True}, pb.HEALTH_UNSPECIFIED),
    ({"ready": False, "terminating": True}, pb.HEALTH_TERMINATING),
    ({"ready": False, "serving": True, "terminating": True}, pb.HEALTH_TERMINATING),
]
"""Conditions of the only endpoint, and the health with which it is listed; 0: it is not."""


@pytest.mark.parametrize(
    ("conditions", "health"), _ALONE, ids=[str(number) for number in range(len(_ALONE))]
)
def test_a_condition_that_is_left_out_has_the_meaning_that_the_api_gives_it(
    balancer: Balancer, namespace: Namespace, conditions: Conditions | None, health: int
) -> None:
    namespace.service("greeter", selector={})
    given: dict[str, Any] = {} if conditions is None else {"conditions": conditions}
    namespace.slice("greeter-1", "greeter", body([endpoint("192.0.2.1", **given)]))
    catch_up(balancer, namespace)
    message = balancer.get(f"greeter.{namespace.name}")
    assert [server.health for server in message.servers] == ([health] if health else [])
    assert message.state == (pb.STATE_PRESENT if health else pb.STATE_EMPTY)


def test_endpoints_that_terminate_are_left_out_while_one_is_ready(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    ending = {"ready": False, "serving": True, "terminating": True}
    leaving = [endpoint(f"192.0.2.{number}", conditions=ending) for number in (1, 2)]
    namespace.slice("greeter-1", "greeter", body(leaving))
    namespace.slice("greeter-2", "greeter", body(["192.0.2.3"]))
    name = f"greeter.{namespace.name}"
    # The ready one stands in another slice: what counts is the Service as a whole.
    balancer.wait_for(name, *at_port("192.0.2.3"))
    namespace.set_endpoints("greeter-2", [endpoint("192.0.2.3", conditions={"ready": False})])
    last = balancer.wait_for(name, *at_port("192.0.2.1", "192.0.2.2"))
    assert {server.health for server in last.servers} == {pb.HEALTH_TERMINATING}


def test_of_pods_that_all_terminate_those_are_listed_that_serve(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    addresses = [pod_address() for _ in range(3)]
    for number, address in enumerate(addresses):
        namespace.pod(f"greeter-{number}", address, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port(*addresses))
    with Watch(balancer, name) as watch:
        for number in range(3):
            namespace.terminate_pod(f"greeter-{number}")
        watch.wait(_are_terminating(3))
        # One of them no longer serves, though it is not gone.
        namespace.set_ready("greeter-0", False)
        messages = watch.wait(_are_terminating(2))
        assert served(messages[-1]) == at_port(*addresses[1:])
        namespace.pod("greeter-3", fresh := pod_address(), app="greeter")
        messages = watch.wait(lambda message: served(message) == at_port(fresh))
    assert [server.health for server in messages[-1].servers] == [pb.HEALTH_READY]
    assert all(message.servers for message in messages), "no list was empty in between"


def _are_terminating(count: int) -> Callable[[Message], bool]:
    def holds(message: Message) -> bool:
        health = [server.health for server in message.servers]
        return health == [pb.HEALTH_TERMINATING] * count

    return holds
