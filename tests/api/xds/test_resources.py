"""What lists become, for every kind of client."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookaside._pb.xds import cluster_pb2, endpoint_pb2, listener_pb2, route_pb2
from lookaside._pb.xds.http_connection_manager_pb2 import HttpConnectionManager
from lookaside.api.xds.kinds import ClientKind
from lookaside.api.xds.resource import Type
from lookaside.api.xds.resources import Translation, priorities, scaled, translating
from lookaside.api.xds.validation import LARGEST_SUM, is_ip
from lookaside.model import MAX_WEIGHT, Endpoint, Locality, Snapshot
from lookaside.policy.service_config import parse_service_config
from lookaside.policy.topology import ANYWHERE, Place
from lookaside.registry.steps import finish
from tests.api.xds.snapshots import NODES, ZONES, fleet, snapshot, snapshots

KINDS = list(ClientKind)
GRPC = [kind for kind in KINDS if kind is not ClientKind.ENVOY]
places = st.builds(Place, st.sampled_from(ZONES), st.sampled_from(NODES))


def translate(
    listed: Snapshot, kind: ClientKind = ClientKind.CORE, place: Place = ANYWHERE
) -> Translation:
    return finish(translating("greeter.shop", listed, kind, place))


def endpoints(made: Translation) -> endpoint_pb2.ClusterLoadAssignment:
    return endpoint_pb2.ClusterLoadAssignment.FromString(made.resources[Type.ENDPOINTS].body)


def cluster(made: Translation) -> cluster_pb2.Cluster:
    return cluster_pb2.Cluster.FromString(made.resources[Type.CLUSTER].body)


def members(made: Translation) -> dict[str, float]:
    """Return the share of each endpoint of its priority, by the rules of who heeds which weight."""
    found = dict[str, float]()
    assignment = endpoints(made)
    totals = dict[int, int]()
    weights = dict[str, tuple[int, int]]()
    for group in assignment.endpoints:
        for one in group.lb_endpoints:
            socket = one.endpoint.address.socket_address
            weight = group.load_balancing_weight.value * one.load_balancing_weight.value
            weights[f"{socket.address}:{socket.port_value}"] = weight, group.priority
            totals[group.priority] = totals.get(group.priority, 0) + weight
    for address, (weight, priority) in weights.items():
        found[address] = weight / totals[priority]
    return found


@settings(max_examples=300)
@given(snapshots, st.sampled_from(KINDS), places)
def test_every_list_becomes_resources_that_no_client_refuses(
    listed: Snapshot, kind: ClientKind, place: Place
) -> None:
    if listed.service_config:
        parse_service_config(listed.service_config)
    # What is refused raises.
    made = translate(listed, kind, place)
    wanted = {
        f"{one.address}:{one.port}" for one in listed.endpoints if one.weight and is_ip(one.address)
    }
    assert members(made).keys() == wanted
    assert made.unlisted == sum(not is_ip(one.address) for one in listed.endpoints)
    assert {one.name for one in made.resources.values()} == {"greeter.shop"}


@settings(max_examples=30)
@given(snapshots, st.sampled_from(KINDS))
def test_equal_lists_become_equal_bytes(listed: Snapshot, kind: ClientKind) -> None:
    one, other = translate(listed, kind), translate(listed, kind)
    assert {of: each.version for of, each in one.resources.items()} == {
        of: each.version for of, each in other.resources.items()
    }


@pytest.mark.parametrize("kind", GRPC)
@pytest.mark.parametrize("weights", [(100, 100), (100, 300, 600), (1, MAX_WEIGHT), (5,) * 50])
def test_up_to_50_endpoints_have_a_locality_each_whatever_their_weights(
    kind: ClientKind, weights: tuple[int, ...]
) -> None:
    made = translate(snapshot(*fleet(*weights)), kind)
    groups = endpoints(made).endpoints
    assert [group.load_balancing_weight.value for group in groups] == list(weights)
    assert [len(group.lb_endpoints) for group in groups] == [1] * len(weights)


@given(st.lists(st.integers(1, MAX_WEIGHT), min_size=1, max_size=50), st.data())
def test_a_change_of_weights_moves_no_endpoint_to_another_locality(
    weights: list[int], data: st.DataObject
) -> None:
    # C-core makes a new connection for an endpoint whose locality has changed.
    others = data.draw(st.permutations(weights))
    one, other = (
        {
            group.lb_endpoints[0].endpoint.address.socket_address.address: (
                group.locality.zone,
                group.locality.sub_zone,
                group.priority,
            )
            for group in endpoints(translate(snapshot(*fleet(*chosen)))).endpoints
        }
        for chosen in (weights, others)
    )
    assert one == other


@pytest.mark.parametrize("kind", GRPC)
@pytest.mark.parametrize(
    ("weights", "policy"),
    [((100,) * 51, "wrr_locality"), ((100,) * 50 + (50,), "ring_hash")],
)
def test_more_than_50_are_one_locality_and_a_ring_if_their_weights_differ(
    kind: ClientKind, weights: tuple[int, ...], policy: str
) -> None:
    made = translate(snapshot(*fleet(*weights)), kind)
    (group,) = endpoints(made).endpoints
    assert [one.load_balancing_weight.value for one in group.lb_endpoints] == list(weights)
    (used,) = cluster(made).load_balancing_policy.policies
    assert used.typed_extension_config.name.endswith(policy)


def test_an_envoy_gets_the_weights_of_endpoints_and_its_policy_as_an_enum() -> None:
    config: dict[str, object] = {"loadBalancingConfig": [{"least_request": {}}]}
    made = translate(snapshot(*fleet(100, 300), config=config), ClientKind.ENVOY)
    (group,) = endpoints(made).endpoints
    assert [one.load_balancing_weight.value for one in group.lb_endpoints] == [100, 300]
    assert cluster(made).lb_policy == cluster_pb2.Cluster.LEAST_REQUEST
    assert not cluster(made).load_balancing_policy.policies


@pytest.mark.parametrize("kind", KINDS)
def test_an_endpoint_of_weight_0_is_left_out(kind: ClientKind) -> None:
    assert members(translate(snapshot(*fleet(0, 7)), kind)) == {"10.0.0.1:50051": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_without_endpoints_is_an_assignment_without_any(kind: ClientKind) -> None:
    assert not endpoints(translate(snapshot(), kind)).endpoints


def test_a_list_of_20_000_of_the_largest_weight_stays_within_what_clients_add_up() -> None:
    weights = scaled([MAX_WEIGHT] * 20_000 + [1])
    assert sum(weights) <= LARGEST_SUM
    assert min(weights) == 1
    assert weights[0] == weights[19_999] > 100_000


@pytest.mark.parametrize(
    ("levels", "place", "expected"),
    [
        (["node", "zone"], Place("a", "n1"), [0, 1, 2]),
        (["node", "zone"], Place("a", "n9"), [0, 0, 1]),
        (["zone"], Place("a", "n1"), [0, 0, 1]),
        (["zone"], Place("b", "n1"), [1, 1, 0]),
        (["zone"], Place("", ""), [0, 0, 0]),
        ([], Place("a", "n1"), [0, 0, 0]),
    ],
)
def test_priorities_are_by_place_and_have_no_gap(
    levels: list[str], place: Place, expected: list[int]
) -> None:
    near = [
        Endpoint(f"10.0.0.{number}", 1, locality=Locality(zone, node))
        for number, (zone, node) in enumerate([("a", "n1"), ("a", "n2"), ("b", "n3")])
    ]
    assert priorities(near, levels, place) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_four_resources_lead_to_one_another(kind: ClientKind) -> None:
    translated = finish(translating("greeter.shop", snapshot(*fleet(1)), kind, ANYWHERE, port=80))
    made = translated.resources
    listener = listener_pb2.Listener.FromString(made[Type.LISTENER].body)
    assert listener.address.socket_address.port_value == (80 if kind.proxy else 0)
    filters = [one.typed_config for chain in listener.filter_chains for one in chain.filters]
    manager = HttpConnectionManager()
    assert (filters or [listener.api_listener.api_listener])[0].Unpack(manager)
    routes = route_pb2.RouteConfiguration.FromString(made[Type.ROUTE].body)
    assert manager.rds.route_config_name == routes.name
    clusters = {route.route.cluster for host in routes.virtual_hosts for route in host.routes}
    assert clusters == {cluster_pb2.Cluster.FromString(made[Type.CLUSTER].body).name}


def test_an_envoy_that_is_to_listen_nowhere_gets_no_listener() -> None:
    made = translate(snapshot(*fleet(1)), ClientKind.ENVOY).resources
    assert made.keys() == set(Type) - {Type.LISTENER}


def test_a_large_list_is_made_in_steps() -> None:
    steps = translating("x", snapshot(*fleet(*[100] * 5_000)), ClientKind.CORE, ANYWHERE)
    assert len(list(steps)) >= 20
