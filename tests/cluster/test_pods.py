"""What the service makes of Pods' annotations and labels, where it may see them."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.cluster.balancer import LEAST_RIGHTS, READ_PODS, Balancer, served, weights
from tests.cluster.handmade import at_port, body, endpoint
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import Namespace
from tests.cluster.watches import Watch

PodAddress = Callable[[], str]

WEIGHT: Final = "lookaside.dev/weight"
WEIGHTS: Final = "lookaside.dev/weights"
_FROM_POD: Final = f"Pod annotation {WEIGHT}"
_FROM_SLICE: Final = f"EndpointSlice annotation {WEIGHT}"
_FROM_RULE: Final = f"Service annotation {WEIGHTS} (version=v2)"


@pytest.fixture(scope="module")
def balancer(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Balancer]:
    """The service with the right to see Pods, and no more; in place of the other."""
    system = Namespace.create(control_plane, "lookaside-pods")
    account = system.service_account("lookaside", [*LEAST_RIGHTS, READ_PODS], everywhere=True)
    flags = ("--pods", "--metadata-label", "version", "--metadata-label", "example.com/team")
    folder = tmp_path_factory.mktemp("lookaside")
    with Balancer(account.kubeconfig, folder, *flags) as running:
        running.wait_ready()
        yield running


def test_a_rule_weighs_pods_by_their_labels(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    rules = "- {labels: {version: v2}, weight: 10}\n- {labels: {version: v3}, weight: 0}"
    namespace.service("greeter", annotations={WEIGHTS: rules})
    addresses = at_port(*(pod_address() for _ in range(3)))
    for number, (address, version) in enumerate(zip(addresses, ["v1", "v2", "v3"], strict=True)):
        host = address.partition(":")[0]
        namespace.pod(f"greeter-{number}", host, app="greeter", labels={"version": version})
    name = f"greeter.{namespace.name}"
    balancer.wait(name, lambda message: list(weights(message).values()) == [100, 10, 0])
    namespace.annotate("service", "greeter", WEIGHTS, "[{labels: {version: v2}, weight: 20}]")
    last = balancer.wait(name, lambda message: list(weights(message).values()) == [100, 20, 100])
    assert served(last) == addresses


def test_the_weight_of_a_pod_goes_before_that_of_a_rule_and_that_before_that_of_a_slice(
    balancer: Balancer, namespace: Namespace
) -> None:
    rule = "[{labels: {version: v2}, weight: 20}]"
    namespace.service("greeter", selector={}, annotations={WEIGHTS: rule})
    v2, own = {"version": "v2"}, {WEIGHT: "10"}
    pods: dict[str, dict[str, Any]] = {
        "first": {"labels": v2, "annotations": own},
        "second": {"labels": v2},
        "third": {"annotations": own},
        "fourth": {},
    }
    endpoints = []
    for number, (name, more) in enumerate(pods.items(), start=1):
        address = f"192.0.2.{number}"
        made = namespace.pod(name, address, app="other", **more)
        endpoints.append(endpoint(address, uid=made["metadata"]["uid"], pod=name))
    # Of no Pod.
    endpoints.append(endpoint("192.0.2.5"))
    namespace.slice("greeter-1", "greeter", body(endpoints), annotations={WEIGHT: "30"})
    service = f"greeter.{namespace.name}"

    def settle(*wanted: tuple[int, str]) -> None:
        expected = [weight for weight, _ in wanted]
        balancer.wait(service, lambda message: list(weights(message).values()) == expected)
        told = balancer.explain(service).endpoints
        assert [(each.weight, each.weight_origin) for each in told] == list(wanted)

    pod, rule_2, slice_30 = (10, _FROM_POD), (20, _FROM_RULE), (30, _FROM_SLICE)
    settle(pod, rule_2, pod, slice_30, slice_30)
    namespace.annotate("pod", "first", WEIGHT, None)
    settle(rule_2, rule_2, pod, slice_30, slice_30)
    namespace.annotate("service", "greeter", WEIGHTS, None)
    settle(slice_30, slice_30, pod, slice_30, slice_30)
    namespace.annotate("slice", "greeter-1", WEIGHT, None)
    default = (100, "default")
    settle(default, default, pod, default, default)


def test_the_weight_of_a_pod_may_be_0(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    name = f"greeter.{namespace.name}"
    with Watch(balancer, name) as watch:
        watch.wait(lambda message: weights(message) == {f"{address}:50051": 100})
        namespace.annotate("pod", "greeter-0", WEIGHT, "0")
        watch.wait(lambda message: weights(message) == {f"{address}:50051": 0})
        namespace.annotate("pod", "greeter-0", WEIGHT, "5")
        watch.wait(lambda message: weights(message) == {f"{address}:50051": 5})


def test_a_bad_weight_of_a_pod_is_refused_and_the_last_good_one_stays(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    bad, other = sorted([pod_address(), pod_address()])
    namespace.pod("greeter-0", bad, app="greeter", annotations={WEIGHT: "40"})
    namespace.pod("greeter-1", other, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait(name, lambda message: list(weights(message).values()) == [40, 100])
    before = balancer.metric("lookaside_refused_annotations_total", kind="Pod")
    namespace.annotate("pod", "greeter-0", WEIGHT, "1.5")
    # Pods come in order: when the other's weight is there, the bad one has been read.
    namespace.annotate("pod", "greeter-1", WEIGHT, "60")
    balancer.wait(name, lambda message: list(weights(message).values()) == [40, 60])
    assert balancer.metric("lookaside_refused_annotations_total", kind="Pod") == before + 1
    [note] = balancer.explain(name).notes
    assert note.startswith(f"Pod {namespace.name}/greeter-0: annotation {WEIGHT} is refused: '1.5'")
    namespace.annotate("pod", "greeter-0", WEIGHT, "50")
    balancer.wait(name, lambda message: list(weights(message).values()) == [50, 60])
    assert not balancer.explain(name).notes


def test_metadata_tells_the_pod_its_place_and_the_labels_that_are_asked_for(
    balancer: Balancer,
    control_plane: ControlPlane,
    namespace: Namespace,
    pod_address: PodAddress,
) -> None:
    control_plane.add_node("node-pods-1", zone="zone-pods")
    namespace.service("greeter", clusterIP="None")
    address = pod_address()
    labels = {"version": "v1", "example.com/team": "payments", "example.com/secret": "kept"}
    namespace.pod(
        *("greeter-0", address),
        app="greeter",
        node="node-pods-1",
        labels=labels,
        hostname="first",
        subdomain="greeter",
    )
    wanted = {
        "pod": "greeter-0",
        "node": "node-pods-1",
        "zone": "zone-pods",
        "hostname": "first",
        "version": "v1",
        "example.com/team": "payments",
    }
    name = f"greeter.{namespace.name}"
    message = balancer.wait(name, lambda message: _metadata(message) == [wanted])
    assert message.servers[0].locality.zone == "zone-pods"
    assert message.servers[0].locality.node == "node-pods-1"


def _metadata(message: Any) -> list[dict[str, str]]:
    return [dict(server.metadata) for server in message.servers]
