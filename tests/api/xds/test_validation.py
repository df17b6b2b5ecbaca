"""Each rule, on a resource that breaks it alone."""

from collections.abc import Callable

import pytest

from lookaside._pb.xds import cluster_pb2, listener_pb2, route_pb2
from lookaside._pb.xds import endpoint_pb2 as pb
from lookaside._pb.xds.ring_hash_pb2 import RingHash
from lookaside._pb.xds.wrr_locality_pb2 import WrrLocality
from lookaside.api.xds.kinds import ClientKind
from lookaside.api.xds.policies import ladder
from lookaside.api.xds.resource import Type
from lookaside.api.xds.resources import translating
from lookaside.api.xds.validation import Checked, InvalidResource, check
from lookaside.policy.topology import ANYWHERE
from lookaside.registry.steps import finish
from tests.api.xds.snapshots import fleet, snapshot

MESSAGES: dict[Type, type[Checked]] = {
    Type.CLUSTER: cluster_pb2.Cluster,
    Type.ENDPOINTS: pb.ClusterLoadAssignment,
    Type.LISTENER: listener_pb2.Listener,
    Type.ROUTE: route_pb2.RouteConfiguration,
}
CONFIG = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "outlierDetection": {"interval": "1s"},
}


def good(of: Type, kind: ClientKind) -> Checked:
    made = finish(translating("x", snapshot(*fleet(1, 2), config=CONFIG), kind, ANYWHERE, port=80))
    return MESSAGES[of].FromString(made.resources[of].body)


def twice(assignment: pb.ClusterLoadAssignment) -> None:
    assignment.endpoints[1].lb_endpoints[0].CopyFrom(assignment.endpoints[0].lb_endpoints[0])


def same_locality(assignment: pb.ClusterLoadAssignment) -> None:
    assignment.endpoints[1].locality.CopyFrom(assignment.endpoints[0].locality)


def heavy(assignment: pb.ClusterLoadAssignment) -> None:
    assignment.endpoints[1].load_balancing_weight.value = 2**32 - 1


def host(assignment: pb.ClusterLoadAssignment) -> None:
    one = assignment.endpoints[0].lb_endpoints[0]
    one.endpoint.address.socket_address.address = "localhost"


def ring(**fields: object) -> Callable[[cluster_pb2.Cluster], None]:
    def put(cluster: cluster_pb2.Cluster) -> None:
        made = RingHash(**fields)  # type: ignore[arg-type]
        cluster.load_balancing_policy.CopyFrom(ladder([made]))

    return put


def no_policy_inside(cluster: cluster_pb2.Cluster) -> None:
    cluster.load_balancing_policy.CopyFrom(ladder([WrrLocality()]))


def a_policy_twice(cluster: cluster_pb2.Cluster) -> None:
    policies = cluster.load_balancing_policy.policies
    policies.append(policies[0])


@pytest.mark.parametrize("kind", ClientKind)
@pytest.mark.parametrize("of", Type)
def test_what_is_made_passes(of: Type, kind: ClientKind) -> None:
    finish(check(good(of, kind), kind))


@pytest.mark.parametrize(
    ("of", "spoil", "fault"),
    [
        (Type.ENDPOINTS, twice, "stands twice"),
        (Type.ENDPOINTS, same_locality, "stands twice in one priority"),
        (Type.ENDPOINTS, heavy, "too large"),
        (Type.ENDPOINTS, host, "no IP address"),
        (Type.ENDPOINTS, lambda one: one.ClearField("cluster_name"), "no name"),
        (Type.ENDPOINTS, lambda one: one.endpoints[0].ClearField("locality"), "is missing"),
        (
            Type.ENDPOINTS,
            lambda one: one.endpoints[0].ClearField("load_balancing_weight"),
            "no weight",
        ),
        (Type.ENDPOINTS, lambda one: one.endpoints[0].ClearField("lb_endpoints"), "no endpoints"),
        (
            Type.ENDPOINTS,
            lambda one: one.endpoints[0].lb_endpoints[0].ClearField("load_balancing_weight"),
            "has no weight",
        ),
        (Type.ENDPOINTS, lambda one: setattr(one.endpoints[0], "priority", 2), "gap"),
        (Type.CLUSTER, lambda one: one.ClearField("name"), "no name"),
        (Type.CLUSTER, lambda one: one.ClearField("type"), "not of type EDS"),
        (Type.CLUSTER, lambda one: one.ClearField("eds_cluster_config"), "not from ADS"),
        (Type.CLUSTER, lambda one: setattr(one, "lb_policy", 1), "by load_balancing_policy"),
        (Type.CLUSTER, lambda one: one.ClearField("load_balancing_policy"), "no policy"),
        (Type.CLUSTER, no_policy_inside, "none inside"),
        (Type.CLUSTER, a_policy_twice, "twice in one list"),
        (Type.CLUSTER, ring(), "XX_HASH"),
        (Type.CLUSTER, ring(hash_function=1, maximum_ring_size={"value": 2}), "the ring's size"),
        (
            Type.CLUSTER,
            lambda one: setattr(one.outlier_detection.max_ejection_percent, "value", 101),
            "above 100",
        ),
        (
            Type.CLUSTER,
            lambda one: setattr(one.outlier_detection.interval, "seconds", -1),
            "no length",
        ),
        (Type.LISTENER, lambda one: one.ClearField("name"), "no name"),
        (Type.LISTENER, lambda one: one.ClearField("api_listener"), "leads nowhere"),
        (Type.ROUTE, lambda one: one.ClearField("name"), "no name"),
        (Type.ROUTE, lambda one: one.ClearField("virtual_hosts"), "no domain"),
        (Type.ROUTE, lambda one: one.virtual_hosts[0].ClearField("routes"), "no route"),
        (Type.ROUTE, lambda one: one.virtual_hosts[0].routes[0].ClearField("match"), "no path"),
        (
            Type.ROUTE,
            lambda one: one.virtual_hosts[0].routes[0].route.ClearField("cluster"),
            "no cluster",
        ),
        (
            Type.ROUTE,
            lambda one: one.virtual_hosts[0].routes[0].route.retry_policy.ClearField("num_retries"),
            "no retries",
        ),
    ],
)
def test_what_a_client_would_refuse_is_refused_here(
    of: Type, spoil: Callable[[Checked], None], fault: str
) -> None:
    message = good(of, ClientKind.CORE)
    spoil(message)
    with pytest.raises(InvalidResource, match=fault):
        finish(check(message, ClientKind.CORE))


def test_a_ring_with_a_size_is_refused_for_a_client_that_takes_none() -> None:
    message = good(Type.CLUSTER, ClientKind.NODE)
    assert isinstance(message, cluster_pb2.Cluster)
    ring(hash_function=1, minimum_ring_size={"value": 2})(message)
    with pytest.raises(InvalidResource, match="takes no size"):
        finish(check(message, ClientKind.NODE))


def test_an_envoy_gets_no_list_of_policies() -> None:
    message = good(Type.CLUSTER, ClientKind.CORE)
    with pytest.raises(InvalidResource, match="by lb_policy"):
        finish(check(message, ClientKind.ENVOY))
