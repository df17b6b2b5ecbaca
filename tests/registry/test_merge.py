"""The rules of kube-proxy, a table of cases: slices in, endpoints out."""

import itertools
from collections.abc import Iterable

import pytest

from lookaside.model import (
    Endpoint,
    Health,
    Hints,
    Locality,
    ServiceKey,
    ServicePort,
    ServiceRecord,
)
from lookaside.registry.annotations import ServicePolicy
from lookaside.registry.inputs import HeldPod, HeldSlice, Inputs, MergeOptions
from lookaside.registry.merge import Memory, merging
from lookaside.registry.merge import merge as merge_inputs
from lookaside.registry.slices import Pod, Service, Slice, SliceEndpoint, SlicePort
from lookaside.registry.steps import finish

KEY = ServiceKey("shop", "greeter")
SERVICE = Service(KEY, (ServicePort("grpc", 80),))
GRPC = (SlicePort("grpc", 50051),)


def merge(service: Service, slices: Iterable[Slice]) -> ServiceRecord:
    return merge_inputs(Inputs(service, slices=tuple(map(HeldSlice, slices))))


def a_slice(
    name: str,
    *endpoints: SliceEndpoint,
    family: str = "IPv4",
    ports: tuple[SlicePort, ...] = GRPC,
) -> Slice:
    return Slice(KEY, name, family, ports, endpoints)


def ready(last: int, zone: str = "", node: str = "") -> SliceEndpoint:
    return SliceEndpoint(f"10.0.0.{last}", zone=zone, node=node)


def out(last: int) -> SliceEndpoint:
    return SliceEndpoint(f"10.0.0.{last}", ready=False, serving=False)


def draining(last: int) -> SliceEndpoint:
    return SliceEndpoint(f"10.0.0.{last}", ready=False, serving=True, terminating=True)


def gone(last: int) -> SliceEndpoint:
    return SliceEndpoint(f"10.0.0.{last}", ready=False, serving=False, terminating=True)


V4 = SliceEndpoint("10.0.0.1", target_uid="pod-1")
V6 = SliceEndpoint("fd00::1", target_uid="pod-1")
V6_ONLY = SliceEndpoint("fd00::2", target_uid="pod-2")

CASES: dict[str, tuple[list[Slice], list[str]]] = {
    "no slices": ([], []),
    "a slice without endpoints": ([a_slice("a")], []),
    "a slice without ports": ([a_slice("a", ready(1), ports=())], []),
    "ready endpoints": ([a_slice("a", ready(2), ready(1))], ["10.0.0.1:50051", "10.0.0.2:50051"]),
    "not ready is left out": ([a_slice("a", ready(1), out(2))], ["10.0.0.1:50051"]),
    "terminating is left out while one is ready": (
        [a_slice("a", ready(1), draining(2))],
        ["10.0.0.1:50051"],
    ),
    "terminating and serving where none is ready": (
        [a_slice("a", out(1), draining(2), gone(3))],
        ["10.0.0.2:50051"],
    ),
    "ready while terminating, as publishNotReadyAddresses has it": (
        [a_slice("a", SliceEndpoint("10.0.0.1", terminating=True))],
        ["10.0.0.1:50051"],
    ),
    "the union of slices": (
        [a_slice("a", ready(1)), a_slice("b", ready(2))],
        ["10.0.0.1:50051", "10.0.0.2:50051"],
    ),
    "ready in one slice, draining in the other": (
        [a_slice("a", draining(1)), a_slice("b", ready(2))],
        ["10.0.0.2:50051"],
    ),
    "a Pod in two slices is one": (
        [a_slice("a", ready(1)), a_slice("b", ready(1))],
        ["10.0.0.1:50051"],
    ),
    "an address twice in one slice is one": (
        [a_slice("a", ready(1, zone="x"), ready(1, zone="y"))],
        ["10.0.0.1:50051"],
    ),
    "ready in one slice, not in the other": (
        [a_slice("a", out(1)), a_slice("b", ready(1))],
        ["10.0.0.1:50051"],
    ),
    "ready, then not, in one slice": ([a_slice("a", ready(1), out(1))], []),
    "of a leaving Pod whose address another has, the other counts": (
        [a_slice("a", draining(1)), a_slice("b", ready(1))],
        ["10.0.0.1:50051"],
    ),
    "the other counts though it is not ready": (
        [a_slice("a", draining(1), draining(2)), a_slice("b", out(1))],
        ["10.0.0.2:50051"],
    ),
    "the other counts in the same slice too": ([a_slice("a", out(1), draining(1))], []),
    "a leaving Pod with the hint of ready endpoints loses to one that is not ready": (
        [a_slice("a", SliceEndpoint("10.0.0.1", terminating=True)), a_slice("b", out(1))],
        [],
    ),
    "a target port that differs by Pod": (
        [a_slice("a", ready(1)), a_slice("b", ready(2), ports=(SlicePort("grpc", 6000),))],
        ["10.0.0.1:50051", "10.0.0.2:6000"],
    ),
    "another port's endpoints are not this one's": (
        [a_slice("a", ready(1), ports=(SlicePort("http", 8080),))],
        [],
    ),
    "a dual-stack Pod is one": (
        [a_slice("six", V6, V6_ONLY, family="IPv6"), a_slice("zed", V4)],
        ["10.0.0.1:50051", "[fd00::2]:50051"],
    ),
    "IPv6 alone": ([a_slice("six", V6, family="IPv6")], ["[fd00::1]:50051"]),
    "FQDN slices are left out": (
        [a_slice("name", SliceEndpoint("backend.example"), family="FQDN")],
        [],
    ),
    "no target reference, as in a Service without a selector": (
        [a_slice("mine", ready(1), ready(2))],
        ["10.0.0.1:50051", "10.0.0.2:50051"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_slices_become_endpoints(case: str) -> None:
    slices, expected = CASES[case]
    for ordered in itertools.permutations(slices):
        endpoints = merge(SERVICE, ordered).endpoints["grpc"]
        assert [endpoint.target for endpoint in endpoints] == expected


def test_where_a_pod_stands_in_two_slices_the_first_by_name_counts() -> None:
    slices = [a_slice("b", ready(1, zone="right")), a_slice("a", ready(1, zone="left"))]
    for ordered in itertools.permutations(slices):
        (endpoint,) = merge(SERVICE, ordered).endpoints["grpc"]
        assert endpoint.locality.zone == "left"


def test_of_two_endpoints_of_an_address_in_one_slice_the_last_that_stays_counts() -> None:
    leaving = SliceEndpoint("10.0.0.1", zone="c", terminating=True)
    one = a_slice("a", ready(1, zone="a"), ready(1, zone="b"), leaving)
    (endpoint,) = merge(SERVICE, [one]).endpoints["grpc"]
    assert endpoint.locality.zone == "b"


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ((), ["10.0.0.1:50051", "[fd00::2]:50051"]),
        (("IPv4", "IPv6"), ["10.0.0.1:50051", "[fd00::2]:50051"]),
        (("IPv4",), ["10.0.0.1:50051"]),
        (("IPv6",), ["[fd00::1]:50051", "[fd00::2]:50051"]),
    ],
)
def test_slices_of_a_family_that_the_service_has_not_count_for_nothing(
    families: tuple[str, ...], expected: list[str]
) -> None:
    service = Service(KEY, (ServicePort("grpc", 80),), families=families)
    record = merge(service, [a_slice("six", V6, V6_ONLY, family="IPv6"), a_slice("zed", V4)])
    assert [endpoint.target for endpoint in record.endpoints["grpc"]] == expected


def test_a_ready_endpoint_of_another_family_keeps_no_draining_one_out() -> None:
    service = Service(KEY, (ServicePort("grpc", 80),), families=("IPv4",))
    record = merge(service, [a_slice("six", V6, family="IPv6"), a_slice("zed", draining(1))])
    assert [endpoint.target for endpoint in record.endpoints["grpc"]] == ["10.0.0.1:50051"]


def test_with_a_local_traffic_policy_each_node_has_its_own_list() -> None:
    service = Service(KEY, (ServicePort("grpc", 80),), local=True)
    leaving = SliceEndpoint(
        "10.0.0.3", ready=False, terminating=True, node="n2", hints=Hints(("a",))
    )
    lost = SliceEndpoint("10.0.0.4", ready=False, serving=False, node="n3")
    nowhere = ready(5)
    record = merge(service, [a_slice("a", ready(1, node="n1"), leaving, lost, nowhere)])
    own = {node: [e.address for e in listed] for node, listed in record.own["grpc"].items()}
    assert own == {"n1": ["10.0.0.1"], "n2": ["10.0.0.3"]}
    assert record.own["grpc"]["n2"][0].health is Health.TERMINATING
    assert [e.address for e in record.endpoints["grpc"]] == ["10.0.0.1", "10.0.0.5"]
    assert record.hints == {}


def test_the_preferred_family_stands_for_a_pod_with_both() -> None:
    slices = (HeldSlice(a_slice("four", V4)), HeldSlice(a_slice("six", V6, family="IPv6")))
    for family, address in (("IPv4", "10.0.0.1"), ("IPv6", "fd00::1")):
        options = MergeOptions(family)  # type: ignore[arg-type]
        (endpoint,) = merge_inputs(Inputs(SERVICE, slices=slices, options=options)).endpoints[
            "grpc"
        ]
        assert endpoint.address == address


def test_the_other_family_stands_for_a_pod_whose_preferred_address_is_not_ready() -> None:
    not_ready = SliceEndpoint("10.0.0.1", ready=False, target_uid="pod-1")
    record = merge(SERVICE, [a_slice("a", not_ready), a_slice("six", V6, family="IPv6")])
    assert [endpoint.address for endpoint in record.endpoints["grpc"]] == ["fd00::1"]


@pytest.mark.parametrize(
    ("hints", "of_use"),
    [
        ((Hints(), Hints()), False),
        ((Hints(("a",)), Hints()), False),
        ((Hints(("a",)), Hints(nodes=("n1",))), False),
        ((Hints(("a",)), Hints(("b",), ("n1",))), True),
        ((Hints(nodes=("n1",)), Hints(("b",), ("n2",))), True),
    ],
)
def test_hints_are_kept_where_every_endpoint_has_them(
    hints: tuple[Hints, ...], of_use: bool
) -> None:
    endpoints = [SliceEndpoint(f"10.0.0.{n}", hints=hint) for n, hint in enumerate(hints)]
    assert merge(SERVICE, [a_slice("a", *endpoints)]).hints == ({"grpc": hints} if of_use else {})


def test_hints_of_terminating_endpoints_are_none() -> None:
    leaving = SliceEndpoint("10.0.0.1", ready=False, terminating=True, hints=Hints(("a",)))
    record = merge(SERVICE, [a_slice("a", leaving)])
    assert (len(record.endpoints["grpc"]), record.hints) == (1, {})


def test_labels_that_are_asked_for_are_metadata_and_hide_nothing() -> None:
    endpoint = SliceEndpoint(
        "10.0.0.1", zone="eu", target_name="p", target_kind="Pod", hostname="h"
    )
    pods = {"p": HeldPod(Pod("shop", "p", "u", {"version": "v2", "zone": "label", "x": "y"}))}
    options = MergeOptions(labels=("version", "zone", "missing"))
    inputs = Inputs(SERVICE, ServicePolicy(), (HeldSlice(a_slice("a", endpoint)),), pods, options)
    (found,) = merge_inputs(inputs).endpoints["grpc"]
    assert found.metadata == (("hostname", "h"), ("pod", "p"), ("version", "v2"), ("zone", "eu"))


def test_what_slices_gave_before_is_used_again() -> None:
    memory = Memory()
    slices = [a_slice("a", ready(1)), a_slice("b", ready(2))]
    inputs = Inputs(SERVICE, slices=tuple(map(HeldSlice, slices)))
    before = finish(merging(inputs, memory)).endpoints["grpc"]
    changed = a_slice("b", ready(2), ready(3))
    memory.touched.add("b")
    inputs = Inputs(SERVICE, slices=(HeldSlice(slices[0]), HeldSlice(changed)))
    after = finish(merging(inputs, memory)).endpoints["grpc"]
    assert after == merge(SERVICE, [slices[0], changed]).endpoints["grpc"]
    assert all(one is other for one, other in zip(before, after, strict=False))
    assert memory.touched == set()


def test_health_and_locality_are_told() -> None:
    record = merge(SERVICE, [a_slice("a", ready(1, zone="eu-1a", node="node-1"))])
    assert record.endpoints["grpc"] == (
        Endpoint(
            "10.0.0.1",
            50051,
            100,
            Health.READY,
            Locality("eu-1a", "node-1"),
            (("node", "node-1"), ("zone", "eu-1a")),
        ),
    )
    (last,) = merge(SERVICE, [a_slice("a", draining(1))]).endpoints["grpc"]
    assert last.health is Health.TERMINATING


def test_each_port_of_the_service_has_its_endpoints() -> None:
    service = Service(KEY, (ServicePort("grpc", 80), ServicePort("admin", 81), ServicePort("", 82)))
    ports = (SlicePort("grpc", 50051), SlicePort("admin", 50052), SlicePort("old", 1))
    record = merge(service, [a_slice("a", ready(1), ports=ports)])
    targets = {port: [e.target for e in found] for port, found in record.endpoints.items()}
    assert targets == {"grpc": ["10.0.0.1:50051"], "admin": ["10.0.0.1:50052"], "": []}


def test_an_external_name_is_kept() -> None:
    record = merge(Service(KEY, external_name="db.example"), [])
    assert (record.external_name, record.endpoints) == ("db.example", {})
