"""Endpoints that stand in two slices, and those that move between them: once, and never missing."""

from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, body, catch_up, endpoint
from tests.cluster.objects import Namespace
from tests.cluster.watches import Watch

MOVES = 10
MOVED = "192.0.2.1"


def test_a_pod_in_two_slices_is_listed_once(balancer: Balancer, namespace: Namespace) -> None:
    namespace.service("greeter", selector={})
    both = endpoint(MOVED, uid="pod-1")
    namespace.slice("greeter-1", "greeter", body([both, endpoint("192.0.2.2", uid="pod-2")]))
    namespace.slice("greeter-2", "greeter", body([both, endpoint("192.0.2.3", uid="pod-3")]))
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert served(balancer.get(name)) == at_port(MOVED, "192.0.2.2", "192.0.2.3")
    told = balancer.explain(name).endpoints
    reasons = [(each.listed, each.slice) for each in told if each.address == f"{MOVED}:50051"]
    assert reasons == [(True, "greeter-1"), (False, "greeter-2")]


def test_a_pod_that_is_ready_in_one_of_two_slices_is_ready(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    old = endpoint(MOVED, uid="pod-1", conditions={"ready": False})
    namespace.slice("greeter-1", "greeter", body([old]))
    namespace.slice("greeter-2", "greeter", body([endpoint(MOVED, uid="pod-1")]))
    balancer.wait_for(f"greeter.{namespace.name}", *at_port(MOVED))


def test_a_pod_that_moves_between_slices_is_in_every_list(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    moved, stays = endpoint(MOVED, uid="pod-1"), [endpoint("192.0.2.2", uid="pod-2")]
    other = [endpoint("192.0.2.3", uid="pod-3")]
    namespace.slice("greeter-1", "greeter", body([moved, *stays]))
    namespace.slice("greeter-2", "greeter", body(other))
    every = at_port(MOVED, "192.0.2.2", "192.0.2.3")
    name = f"greeter.{namespace.name}"
    with Watch(balancer, name) as watch:
        watch.wait(lambda message: served(message) == every)
        began = len(watch.messages)
        for _ in range(MOVES):
            # There and back: the slice that it leaves is the first by name, then the last.
            namespace.set_endpoints("greeter-2", [*other, moved])
            namespace.set_endpoints("greeter-1", stays)
            namespace.set_endpoints("greeter-1", [moved, *stays])
            namespace.set_endpoints("greeter-2", other)
        namespace.set_endpoints("greeter-2", [*other, endpoint("192.0.2.4", uid="pod-4")])
        messages = watch.wait(lambda message: "192.0.2.4:50051" in served(message))
    # The moves have changed nothing, so nothing was sent of them.
    assert len(messages) == began + 1
    assert served(messages[-1]) == [*every, "192.0.2.4:50051"]


def test_a_pod_that_moves_to_a_new_slice_as_its_old_one_is_deleted_is_in_every_list(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    endpoints = [endpoint(MOVED, uid="pod-1"), endpoint("192.0.2.2", uid="pod-2")]
    namespace.slice("greeter-0", "greeter", body(endpoints))
    every = at_port(MOVED, "192.0.2.2")
    with Watch(balancer, f"greeter.{namespace.name}") as watch:
        watch.wait(lambda message: served(message) == every)
        began = len(watch.messages)
        for number in range(MOVES):
            namespace.slice(f"greeter-{number + 1}", "greeter", body(endpoints))
            namespace.delete_slice(f"greeter-{number}")
        namespace.set_endpoints(f"greeter-{MOVES}", endpoints[:1])
        messages = watch.wait(lambda message: served(message) == at_port(MOVED))
    assert len(messages) == began + 1


def test_a_pod_that_leaves_one_slice_before_it_comes_to_another_comes_back_at_once(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    moved, stays = endpoint(MOVED, uid="pod-1"), endpoint("192.0.2.2", uid="pod-2")
    namespace.slice("greeter-1", "greeter", body([moved, stays]))
    namespace.slice("greeter-2", "greeter", body([]))
    both = at_port(MOVED, "192.0.2.2")
    with Watch(balancer, f"greeter.{namespace.name}") as watch:
        watch.wait(lambda message: served(message) == both)
        namespace.set_endpoints("greeter-1", [stays])
        # The API says that it is in no slice: so does the list, as kube-proxy would.
        watch.wait(lambda message: served(message) == at_port("192.0.2.2"))
        namespace.set_endpoints("greeter-2", [moved])
        watch.wait(lambda message: served(message) == both)
