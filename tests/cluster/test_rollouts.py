"""Calls reach the Pods of a Service, and none fails while Pods come and go."""

import time

from tests.cluster.balancer import Balancer
from tests.cluster.figures import record
from tests.cluster.greeters import Greeters
from tests.cluster.objects import Namespace, Port
from tests.cluster.traffic import calling

ROUNDS = 3


def test_calls_are_spread_evenly_over_the_pods(
    balancer: Balancer, namespace: Namespace, greeters: Greeters
) -> None:
    service = _serve(balancer, namespace, greeters, 3)
    with calling(balancer.address, service, "even spread") as clients:
        clients.settle(greeters.targets)
        for client in clients.clients:
            answers = client.next(600)
            record(f"600 calls, {client.kind}: {sorted(answers.values())}")


def test_calls_reach_the_port_that_is_named(
    balancer: Balancer, namespace: Namespace, greeters: Greeters
) -> None:
    ports = [Port(80, "grpc", target="grpc"), Port(81, "admin", target=9000)]
    namespace.service("greeter", ports)
    greeters.add(1)
    greeters.add(1, port=50061)
    service = f"greeter.{namespace.name}:80"
    balancer.wait_for(service, *greeters.targets)
    with calling(balancer.address, service, "a port by its number") as clients:
        clients.settle(greeters.targets)


def test_none_fails_while_pods_are_added(
    balancer: Balancer, namespace: Namespace, greeters: Greeters
) -> None:
    service = _serve(balancer, namespace, greeters, 1)
    new = greeters.launch(ROUNDS)
    with calling(balancer.address, service, "pods added") as clients:
        for greeter in new:
            began = time.monotonic()
            greeters.announce([greeter])
            took = clients.reach(greeter.target) - began
            record(f"from creating a Pod to its first answers: {1000 * took:.0f} ms")
        clients.settle(greeters.targets)
    seconds = balancer.metric("lookaside_propagation_seconds_sum")
    changes = balancer.metric("lookaside_propagation_seconds_count")
    record(f"of that in the service: {1000 * seconds / changes:.2f} ms, mean of {changes:.0f}")


def test_none_fails_while_pods_end_after_they_have_left_the_list(
    balancer: Balancer, namespace: Namespace, greeters: Greeters
) -> None:
    service = _serve(balancer, namespace, greeters, 3)
    with calling(balancer.address, service, "pods ended after they left") as clients:
        for _ in range(ROUNDS):
            greeters.add(1)
            clients.settle(greeters.targets)
            leaving = greeters.running[0]
            greeters.terminate(leaving)
            clients.settle(greeters.targets - {leaving.target})
            greeters.end(leaving)
            clients.next(200)


def test_none_fails_while_pods_end_as_they_leave_the_list(
    balancer: Balancer, namespace: Namespace, greeters: Greeters
) -> None:
    service = _serve(balancer, namespace, greeters, 3)
    with calling(balancer.address, service, "pods ended as they left", may_lose=1) as clients:
        for _ in range(ROUNDS):
            greeters.add(1)
            clients.settle(greeters.targets)
            # A kubelet and the controllers learn of a Pod's end at the same moment.
            leaving = greeters.running[0]
            greeters.terminate(leaving)
            greeters.end(leaving)
            clients.settle(greeters.targets)


def test_none_fails_while_all_pods_are_replaced_at_once(
    balancer: Balancer, namespace: Namespace, greeters: Greeters
) -> None:
    service = _serve(balancer, namespace, greeters, 3)
    with calling(balancer.address, service, "all pods replaced", may_lose=1) as clients:
        clients.settle(greeters.targets)
        old = list(greeters.running)
        new = greeters.add(3)
        for greeter in new:
            clients.reach(greeter.target)
        greeters.terminate(*old)
        greeters.end(*old)
        clients.settle(greeters.targets)


def _serve(balancer: Balancer, namespace: Namespace, greeters: Greeters, count: int) -> str:
    """Make the Service with so many Pods, and give its name once the balancer has them."""
    namespace.service("greeter")
    greeters.add(count)
    service = f"greeter.{namespace.name}"
    balancer.wait_for(service, *greeters.targets)
    return service
