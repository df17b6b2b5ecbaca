"""What one client is told of each endpoint, beside what holds for all."""

from lookaside.model import Endpoint, Hints, ServiceKey, ServiceName, ServicePort, ServiceRecord
from lookaside.policy.topology import Place
from lookaside.policy.view import WHOLE, View
from lookaside.registry.cluster import Cluster
from lookaside.registry.explain import explain
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
    return [(one.listed, one.reason) for one in explain(NAME, record, view).verdicts]


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
            endpoints, hints = record.endpoints["grpc"], record.hints["grpc"]
            listed = view.narrowed(endpoints, hints).of(endpoints, hints)
            verdicts = explain(NAME, record, view).verdicts
            assert [one.address for one in verdicts if one.listed] == [
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
        (verdict,) = explain(ServiceName(KEY), record, WHOLE).verdicts
        assert not verdict.listed


def test_a_source_that_gives_no_reasons_is_named_as_the_reason() -> None:
    record = ServiceRecord(KEY, (ServicePort("grpc", 80),), {"grpc": (Endpoint("10.0.0.1", 1, 5),)})
    explained = explain(NAME, record, WHOLE)
    (verdict,) = explained.verdicts
    assert (verdict.reason, verdict.weight, verdict.weight_origin) == (
        "given by the source",
        5,
        "the source",
    )
    assert explained.notes == ()
    nothing = explain(NAME, ServiceRecord(KEY, (), {}), WHOLE)
    assert nothing.notes == ("the source gives it no endpoints",)
