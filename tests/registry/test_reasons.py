"""Why an endpoint is in a list made of slices, or not: a table of cases."""

import pytest

from lookaside.model import EndpointExplanation, Hints, ServiceKey, ServicePort
from lookaside.policy.weights import WeightRule
from lookaside.registry.annotations import Reading, ServicePolicy
from lookaside.registry.inputs import HeldPod, HeldSlice, Inputs
from lookaside.registry.merge import merge
from lookaside.registry.reasons import Reasons
from lookaside.registry.slices import Pod, Service, Slice, SliceEndpoint, SlicePort

KEY = ServiceKey("shop", "greeter")
SERVICE = Service(KEY, (ServicePort("grpc", 80),))
GRPC = (SlicePort("grpc", 50051),)
NONE = Reading[int]()


def held(
    *endpoints: SliceEndpoint,
    name: str = "a",
    family: str = "IPv4",
    ports: tuple[SlicePort, ...] = GRPC,
    weight: Reading[int] = NONE,
    set_aside: tuple[str, ...] = (),
) -> HeldSlice:
    made = Slice(KEY, name, family, ports, endpoints, "", f"of {name}", set_aside)
    return HeldSlice(made, weight)


def one(last: int = 1, *, ready: bool = False, **fields: str | bool) -> SliceEndpoint:
    return SliceEndpoint(f"10.0.0.{last}", ready=ready, **fields)  # type: ignore[arg-type]


POD_V4 = SliceEndpoint("10.0.0.1", target_uid="u", target_name="p", target_kind="Pod")
POD_V6 = SliceEndpoint("fd00::1", target_uid="u", target_name="p", target_kind="Pod")

REASONS: dict[str, tuple[list[HeldSlice], list[tuple[bool, str]]]] = {
    "ready": ([held(one(ready=True))], [(True, "ready")]),
    "not ready": ([held(one(serving=False))], [(False, "not ready")]),
    "serving and not ready": ([held(one(serving=True))], [(False, "not ready")]),
    "gone": (
        [held(one(serving=False, terminating=True))],
        [(False, "terminating and no longer serving")],
    ),
    "leaving, and others are there": (
        [held(one(1, terminating=True), one(2, ready=True))],
        [(False, "terminating, and others are ready"), (True, "ready")],
    ),
    "leaving, and no other is there": (
        [held(one(terminating=True))],
        [(True, "terminating, serving, and no other is ready")],
    ),
    "in two slices": (
        [held(one(ready=True)), held(one(ready=True), name="b")],
        [(True, "ready"), (False, "duplicate, listed from slice a")],
    ),
    "twice in one slice": (
        [held(one(ready=True, zone="x"), one(ready=True, zone="y"))],
        [(False, "duplicate, listed from another entry of its slice"), (True, "ready")],
    ),
    "both families": (
        [held(POD_V4), held(POD_V6, name="six", family="IPv6")],
        [(True, "ready"), (False, "the same Pod is listed by IPv4")],
    ),
    "no such port": (
        [held(one(ready=True), ports=(SlicePort("http", 80),))],
        [(False, "its slice has no port named 'grpc'")],
    ),
    "FQDN": (
        [held(SliceEndpoint("b.example"), family="FQDN")],
        [(False, "its slice is of the deprecated type FQDN")],
    ),
    "weight 0": (
        [held(one(ready=True), weight=Reading(0))],
        [(True, "ready; weight 0: no new requests")],
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_every_endpoint_has_a_reason(case: str) -> None:
    slices, expected = REASONS[case]
    inputs = Inputs(SERVICE, slices=tuple(slices))
    endpoints = Reasons(inputs).explain("grpc").endpoints
    assert [(endpoint.listed, endpoint.reason) for endpoint in endpoints] == expected
    listed = merge(inputs).endpoints["grpc"]
    assert len(listed) == sum(endpoint.listed for endpoint in endpoints)


def test_an_explanation_tells_slice_version_weight_target_and_place() -> None:
    endpoint = SliceEndpoint(
        "10.0.0.1", zone="eu", node="n", target_name="p", target_kind="Pod", target_uid="u"
    )
    policy = ServicePolicy(Reading((WeightRule(7, {"v": "2"}),)))
    pods = {"p": HeldPod(Pod("shop", "p", "u", {"v": "2"}))}
    inputs = Inputs(SERVICE, policy, (held(endpoint),), pods)
    (explained,) = Reasons(inputs).explain("grpc").endpoints
    locality = explained.locality
    assert (locality.zone, locality.node) == ("eu", "n")
    assert explained == EndpointExplanation(
        "10.0.0.1",
        50051,
        "a",
        True,
        "ready",
        "of a",
        7,
        "Service annotation lookaside.dev/weights (v=2)",
        "Pod p",
        locality,
    )


EMPTY: dict[str, tuple[Service, list[HeldSlice], list[str]]] = {
    "full": (SERVICE, [held(one(ready=True))], []),
    "no slices": (SERVICE, [], ["the Service has no EndpointSlices: it has no selector"]),
    "no endpoints": (SERVICE, [held()], ["its EndpointSlices have no endpoints: no Pod matches"]),
    "none fit": (SERVICE, [held(one(), one(2))], ["none of its 2 endpoints is fit"]),
    "an alias": (
        Service(KEY, external_name="db.example"),
        [],
        ["the Service is an alias of db.example: dial that by DNS"],
    ),
    "no ports": (
        Service(KEY),
        [held(one(ready=True), ports=(SlicePort("", 1),))],
        ["none of its 1 endpoints is fit", "the Service has no ports: nothing can be dialled"],
    ),
    "set aside": (
        SERVICE,
        [held(one(ready=True), name="b", set_aside=("x",)), held(set_aside=("y", "z"))],
        ["EndpointSlice a: y", "EndpointSlice a: z", "EndpointSlice b: x"],
    ),
    "a bad annotation": (
        SERVICE,
        [held(one(ready=True), weight=Reading(5, "it is bad"))],
        ["EndpointSlice shop/a: annotation lookaside.dev/weight is refused: it is bad"],
    ),
}


@pytest.mark.parametrize("case", EMPTY)
def test_notes_tell_why_a_list_is_empty_and_what_was_refused(case: str) -> None:
    service, slices, expected = EMPTY[case]
    port = service.ports[0].name if service.ports else ""
    notes = Reasons(Inputs(service, slices=tuple(slices))).explain(port).notes
    assert len(notes) == len(expected)
    assert all(note.startswith(start) for note, start in zip(notes, expected, strict=True))


def hinted(last: int, *, zone: str = "", node: str = "", ready: bool = True) -> SliceEndpoint:
    zones, nodes = (zone,) if zone else (), (node,) if node else ()
    hints = Hints(zones, nodes)
    return SliceEndpoint(f"10.0.0.{last}", ready=ready, terminating=not ready, hints=hints)


LOCAL = Service(KEY, (ServicePort("grpc", 80),), local=True)
HINTS: dict[str, tuple[Service, list[SliceEndpoint], list[str]]] = {
    "all have one": (SERVICE, [hinted(1, zone="a"), hinted(2, zone="b")], []),
    "none has one": (SERVICE, [hinted(1), hinted(2)], []),
    "one has none": (
        SERVICE,
        [hinted(1, zone="a"), hinted(2), hinted(3)],
        ["hints for zones are set aside: 2 of 3 endpoints have none, 10.0.0.2:50051 for one"],
    ),
    "one that is not listed has none": (SERVICE, [hinted(1, zone="a"), one(2)], []),
    "one has none for a node": (
        SERVICE,
        [hinted(1, zone="a", node="n"), hinted(2, zone="a")],
        ["hints for nodes are set aside: 1 of 2 endpoints have none, 10.0.0.2:50051 for one"],
    ),
    "none is ready": (
        SERVICE,
        [hinted(1, zone="a", ready=False)],
        ["hints for zones are set aside: no endpoint is ready"],
    ),
    "the traffic policy is Local": (
        LOCAL,
        [hinted(1, zone="a")],
        ["hints for zones are set aside: the Service's internalTrafficPolicy is Local"],
    ),
}


@pytest.mark.parametrize("case", HINTS)
def test_hints_that_count_for_no_client_are_told_with_the_reason(case: str) -> None:
    service, endpoints, expected = HINTS[case]
    inputs = Inputs(service, slices=(held(*endpoints),))
    assert list(Reasons(inputs).explain("grpc").notes) == expected
    meant = merge(inputs).hints.get("grpc", ())
    used = {kind for kind in ("zones", "nodes") if meant and all(getattr(h, kind) for h in meant)}
    given = {k for k in ("zones", "nodes") if any(getattr(e.hints, k) for e in endpoints)}
    listed = [each for each in endpoints if each.ready or each.hints.zones]
    if len(listed) == len(endpoints):
        assert {note.split()[2].rstrip(":") for note in expected} == given - used


def test_a_policy_that_clients_may_not_have_is_told_with_those_that_they_have() -> None:
    policy = ServicePolicy(service_config=Reading('{"loadBalancingPolicy":"grpclb"}'))
    (note,) = Reasons(Inputs(SERVICE, policy, (held(one(ready=True)),))).explain("grpc").notes
    assert note == (
        "annotation lookaside.dev/service-config names 'grpclb': clients that have not registered "
        "such a policy refuse the config, and know least_request, maglev, peak_ewma, pick_first, "
        "random, ring_hash, round_robin, weighted_round_robin"
    )


def test_bad_annotations_of_service_slices_and_standing_pods_are_told_in_order() -> None:
    policy = ServicePolicy(Reading((), "no rules"), Reading("", "no config"))
    pods = {name: HeldPod(Pod("shop", name, "u", {}), Reading(1, "bad")) for name in ("p", "q")}
    inputs = Inputs(SERVICE, policy, (held(POD_V4, weight=Reading(None, "bad")),), pods)
    assert [(found.kind, found.name) for found in Reasons(inputs).refusals()] == [
        ("Service", "greeter"),
        ("Service", "greeter"),
        ("EndpointSlice", "a"),
        ("Pod", "p"),
    ]
