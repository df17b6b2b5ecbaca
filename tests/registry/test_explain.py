"""What one client is told of each endpoint, beside what holds for all."""

from lookaside.model import Endpoint, Hints, ServiceKey, ServiceName, ServicePort, ServiceRecord
from lookaside.policy.service_config import STICKY
from lookaside.policy.topology import Place
from lookaside.policy.view import WHOLE, View
from lookaside.registry.cluster import Cluster
from lookaside.registry.explain import EVERY_NODE, explain
from lookaside.registry.slices import Service, Slice, SliceEndpoint, SlicePort

KEY = ServiceKey("shop", "greeter")
NAME = ServiceName(KEY, "grpc")


def zoned(*zones: str, nodes: tuple[str, ...] = ()) -> ServiceRecord:
    cluster = Cluster()
    cluster.set_service(Service(KEY, (ServicePort("grpc", 80),)))
    endpoints = tuple(
        SliceEndpoint(f"10.0.0.{n}", hints=Hints((zone,), nodes[n : n + 1]))
        for n, zone in enumerate(zones)
    )
    cluster.set_slice(Slice(KEY, "a", "IPv4", (SlicePort("grpc", 50051),), endpoints))
    (record,) = cluster.records()
    return record


def reasons(record: ServiceRecord, view: View) -> list[tuple[bool, str]]:
    return [(one.listed, one.reason) for one in explain(NAME, record, view).endpoints]


def test_to_nobody_in_particular_all_that_is_listed_is_ready() -> None:
    assert reasons(zoned("a", "b"), WHOLE) == [(True, "ready"), (True, "ready")]


def test_an_endpoint_for_another_zone_is_told_with_both_zones() -> None:
    assert reasons(zoned("a", "b"), View(Place("a"))) == [
        (True, "ready"),
        (False, "meant for zone b; the client is in a"),
    ]


def test_an_endpoint_for_another_node_is_told_with_both_nodes() -> None:
    record = zoned("a", "a", nodes=("n1", "n2"))
    assert reasons(record, View(Place("a", "n2"))) == [
        (False, "meant for node n1; the client is in n2"),
        (True, "ready"),
    ]


def test_hints_that_a_client_is_served_without_are_told_with_the_reason() -> None:
    both = zoned("a", "b", nodes=("n1", "n2"))
    nodes = "hints for nodes are not used for this client: "
    zones = "hints for zones are not used for this client: "
    cases: list[tuple[ServiceRecord, Place, list[str]]] = [
        (zoned("a", "b"), Place("a"), []),
        (zoned("a", "b"), Place("c"), [f"{zones}none is for zone 'c'"]),
        (zoned("a", "b"), Place(), [f"{zones}the client names no zone"]),
        (zoned("a", "b"), Place("", "n1"), [f"{zones}the client names no zone"]),
        (both, Place("a", "n1"), []),
        (both, Place("a", "n9"), [f"{nodes}none is for node 'n9'"]),
        (both, Place("a"), [f"{nodes}the client names no node"]),
        (both, Place(), [f"{nodes}the client names no node", f"{zones}the client names no zone"]),
    ]
    for record, place, expected in cases:
        assert list(explain(NAME, record, View(place)).notes) == expected, place
    assert not any("hints" in note for note in explain(NAME, by_node(), View(Place("a"))).notes)


def test_what_a_subset_leaves_out_is_told_with_the_client() -> None:
    found = reasons(zoned("a", "a", "a", "b"), View(Place("a"), 1, "me"))
    assert sorted(found) == [
        (False, "meant for zone b; the client is in a"),
        (False, "not in the subset of 1 for client 'me'"),
        (False, "not in the subset of 1 for client 'me'"),
        (True, "ready"),
    ]


def test_what_is_explained_as_listed_is_what_is_listed() -> None:
    record = zoned("a", "b", "a", "b", "a")
    for place in (Place(), Place("a"), Place("c")):
        for size in (0, 1, 2, 5):
            view = View(place, size, "me")
            whole = record.port_list("grpc")
            listed = view.narrowed(whole).of(whole)
            endpoints = explain(NAME, record, view).endpoints
            assert [one.address for one in endpoints if one.listed] == [
                one.address for one in listed
            ]


def test_a_service_that_has_no_ports_or_is_an_alias_lists_nothing() -> None:
    for service in (Service(KEY), Service(KEY, (ServicePort("", 80),), "db.example")):
        cluster = Cluster()
        cluster.set_service(service)
        ports = (SlicePort("", 50051),)
        cluster.set_slice(Slice(KEY, "a", "IPv4", ports, (SliceEndpoint("10.0.0.1"),)))
        (record,) = cluster.records()
        assert not any(record.endpoints.values())
        (endpoint,) = explain(ServiceName(KEY), record, WHOLE).endpoints
        assert not endpoint.listed


def test_a_source_that_gives_no_reasons_is_named_as_the_reason() -> None:
    record = ServiceRecord(KEY, (ServicePort("grpc", 80),), {"grpc": (Endpoint("10.0.0.1", 1, 5),)})
    explained = explain(NAME, record, WHOLE)
    (endpoint,) = explained.endpoints
    assert (endpoint.reason, endpoint.weight, endpoint.weight_origin) == (
        "given by the source",
        5,
        "the source",
    )
    assert explained.notes == ()
    nothing = explain(NAME, ServiceRecord(KEY, (), {}), WHOLE)
    assert nothing.notes == ("the source gives it no endpoints",)


def by_node(*, sticky: bool = False) -> ServiceRecord:
    """A Service that keeps traffic on the node: a ready endpoint on n1, a leaving one on n2."""
    cluster = Cluster()
    cluster.set_service(Service(KEY, (ServicePort("grpc", 80),), local=True, sticky=sticky))
    endpoints = (
        SliceEndpoint("10.0.0.1", node="n1"),
        SliceEndpoint("10.0.0.2", node="n2", ready=False, terminating=True),
        SliceEndpoint("10.0.0.3"),
    )
    cluster.set_slice(Slice(KEY, "a", "IPv4", (SlicePort("grpc", 50051),), endpoints))
    (record,) = cluster.records()
    return record


def test_with_a_local_traffic_policy_the_others_are_told_with_their_nodes() -> None:
    local = "and internalTrafficPolicy is Local"
    assert reasons(by_node(), View(Place("a", "n1"))) == [
        (True, "ready"),
        (False, f"is on node n2; the client is on n1, {local}"),
        (False, f"has no node; the client is on n1, {local}"),
    ]
    assert reasons(by_node(), View(Place(node="n2"))) == [
        (False, f"is on node n1; the client is on n2, {local}"),
        (True, "terminating, serving, and no other on node n2 is ready"),
        (False, f"has no node; the client is on n2, {local}"),
    ]
    assert not any(listed for listed, _ in reasons(by_node(), View(Place(node="n3"))))


def test_a_client_without_a_node_is_told_why_it_gets_all_of_a_local_service() -> None:
    explained = explain(NAME, by_node(), View(Place("a")))
    assert [one.listed for one in explained.endpoints] == [True, False, True]
    assert explained.notes == (EVERY_NODE,)
    assert "internalTrafficPolicy is Local, and the client names no node" in EVERY_NODE
    assert explain(NAME, by_node(), View(Place(node="n1"))).notes == ()


def test_session_affinity_is_told_and_where_the_policy_for_it_is_from() -> None:
    record = by_node(sticky=True)
    assert record.service_config == STICKY
    (note,) = explain(NAME, record, View(Place(node="n1"))).notes
    assert note == f"the Service's sessionAffinity is ClientIP, so clients receive {STICKY}"
    cluster = Cluster()
    config = '{"loadBalancingConfig":[{"round_robin":{}}]}'
    cluster.set_service(
        Service(KEY, (ServicePort("grpc", 80),), service_config=config, sticky=True)
    )
    (record,) = cluster.records()
    assert record.service_config == config
    assert (
        "the Service's sessionAffinity is ClientIP, but clients receive the annotation "
        "lookaside.dev/service-config"
    ) in explain(NAME, record, WHOLE).notes


def test_the_address_that_another_endpoint_has_is_told_with_its_slice() -> None:
    cluster = Cluster()
    cluster.set_service(Service(KEY, (ServicePort("grpc", 80),)))
    ports = (SlicePort("grpc", 50051),)
    leaving = SliceEndpoint("10.0.0.1", ready=False, terminating=True)
    unready = SliceEndpoint("10.0.0.1", ready=False)
    cluster.set_slice(Slice(KEY, "a", "IPv4", ports, (leaving,)))
    cluster.set_slice(Slice(KEY, "b", "IPv4", ports, (unready,)))
    (record,) = cluster.records()
    assert reasons(record, WHOLE) == [
        (False, "duplicate, listed from slice b"),
        (False, "not ready"),
    ]


def test_a_slice_of_a_family_that_the_service_has_not_is_told() -> None:
    cluster = Cluster()
    cluster.set_service(Service(KEY, (ServicePort("grpc", 80),), families=("IPv4",)))
    six = SliceEndpoint("fd00::1")
    cluster.set_slice(Slice(KEY, "a", "IPv6", (SlicePort("grpc", 50051),), (six,)))
    (record,) = cluster.records()
    assert reasons(record, WHOLE) == [
        (False, "its slice is of IPv6, and the Service of IPv4 alone")
    ]
