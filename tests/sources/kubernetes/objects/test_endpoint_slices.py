import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.model import Hints, ServiceKey
from lookaside.registry.slices import Slice, SliceEndpoint, SlicePort
from lookaside.sources.kubernetes.api.decode import Item
from lookaside.sources.kubernetes.objects.endpoint_slices import ENDPOINT_SLICES

WHOLE: dict[str, Any] = {
    "metadata": {
        "name": "greeter-abc",
        "namespace": "grpc",
        "resourceVersion": "42",
        "labels": {"kubernetes.io/service-name": "greeter", "app": "x"},
        "annotations": {"lookaside.dev/weight": "50", "endpoints.kubernetes.io/x": "y"},
        "managedFields": [{"manager": "kube-controller-manager", "fieldsV1": {"f:endpoints": {}}}],
    },
    "addressType": "IPv4",
    "endpoints": [
        {
            "addresses": ["10.0.0.1", "10.0.0.99"],
            "conditions": {"ready": False, "serving": True, "terminating": True},
            "hostname": "greeter-0",
            "nodeName": "worker-3",
            "zone": "eu-1a",
            "targetRef": {"kind": "Pod", "namespace": "grpc", "name": "greeter-0", "uid": "u-1"},
            "hints": {"forZones": [{"name": "eu-1a"}], "forNodes": [{"name": "worker-3"}]},
        }
    ],
    "ports": [{"name": "grpc", "port": 50051, "protocol": "TCP", "appProtocol": "h2c"}],
}
ENDPOINT = SliceEndpoint(
    address="10.0.0.1",
    ready=False,
    serving=True,
    terminating=True,
    zone="eu-1a",
    node="worker-3",
    target_uid="u-1",
    target_name="greeter-0",
    hostname="greeter-0",
    target_kind="Pod",
    hints=Hints(("eu-1a",), ("worker-3",)),
)


def read(json_object: Any) -> Item[Slice]:
    """Read the object as the one item of a list."""
    body = {"metadata": {"resourceVersion": "1"}, "items": [json_object]}
    [item] = ENDPOINT_SLICES.page(json.dumps(body).encode()).items
    return item


def with_(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(WHOLE), **fields}


def read_endpoints(*endpoints: Any, family: str = "IPv4") -> tuple[list[SliceEndpoint], int]:
    item = read(with_(endpoints=list(endpoints), addressType=family))
    assert item.value is not None
    return list(item.value.endpoints), item.flaws


def test_a_whole_slice() -> None:
    assert read(WHOLE) == Item(
        ("grpc", "greeter-abc"),
        Slice(
            service=ServiceKey("grpc", "greeter"),
            name="greeter-abc",
            address_type="IPv4",
            ports=(SlicePort("grpc", 50051),),
            endpoints=(ENDPOINT,),
            weight="50",
            resource_version="42",
        ),
        "42",
    )


@pytest.mark.parametrize(
    ("conditions", "ready", "serving", "terminating"),
    [
        (None, True, True, False),
        ({}, True, True, False),
        ({"ready": None, "serving": None, "terminating": None}, True, True, False),
        ({"ready": False}, False, True, False),
        ({"ready": True, "serving": True, "terminating": False}, True, True, False),
        ({"ready": False, "serving": False, "terminating": True}, False, False, True),
    ],
)
def test_the_nil_of_a_condition_has_a_meaning(
    conditions: Any, ready: bool, serving: bool, terminating: bool
) -> None:
    [endpoint], _ = read_endpoints({"addresses": ["10.0.0.1"], "conditions": conditions})
    assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (
        ready,
        serving,
        terminating,
    )


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("010.000.000.007", "10.0.0.7"),
        ("10.0.0.08", "10.0.0.8"),
        ("00000.0.0.0255", "0.0.0.255"),
    ],
)
def test_an_ipv4_address_with_leading_zeros_is_decimal(written: str, address: str) -> None:
    [endpoint], flaws = read_endpoints({"addresses": [written]})
    assert (endpoint.address, flaws) == (address, 0)


@pytest.mark.parametrize("nothing", [{}, {"endpoints": None, "ports": None}])
def test_nil_lists_are_legal(nothing: dict[str, Any]) -> None:
    bare = {key: value for key, value in WHOLE.items() if key in ("metadata", "addressType")}
    item = read({**bare, **nothing})
    assert item.value is not None
    assert (item.value.ports, item.value.endpoints, item.flaws) == ((), (), 0)


@pytest.mark.parametrize(
    "labels",
    [
        None,
        {},
        {"app": "x"},
        {"kubernetes.io/service-name": ""},
        {"multicluster.kubernetes.io/service-name": "greeter"},
    ],
)
def test_a_slice_of_no_service_is_ignored(labels: Any) -> None:
    item = read(with_(metadata={"name": "a", "namespace": "b", "labels": labels}))
    assert item == Item(("b", "a"), None)


@pytest.mark.parametrize(
    ("family", "address", "canonical"),
    [
        ("IPv4", "10.0.0.1", "10.0.0.1"),
        ("IPv4", "255.255.255.255", "255.255.255.255"),
        ("IPv6", "2001:DB8:0::1", "2001:db8::1"),
        ("FQDN", "Example.COM.", "example.com"),
    ],
)
def test_addresses_are_canonical(family: str, address: str, canonical: str) -> None:
    [endpoint], flaws = read_endpoints({"addresses": [address]}, family=family)
    assert endpoint.address == canonical
    assert flaws == 0


BAD_ENDPOINTS = [
    {},
    {"addresses": None},
    {"addresses": []},
    {"addresses": [""]},
    {"addresses": [7]},
    {"addresses": "10.0.0.3"},
    {"addresses": ["10.0.0.256"]},
    {"addresses": ["010.0.0.256"]},
    {"addresses": ["0x0a.0.0.1"]},
    {"addresses": ["10.0.0.1\n"]},
    {"addresses": ["example.com"]},
    {"addresses": ["::1"]},
    {"addresses": ["10.0.0.3"], "conditions": {"ready": "yes"}},
    {"addresses": ["10.0.0.3"], "zone": ["eu-1a"]},
    {"addresses": ["10.0.0.3"], "targetRef": "a pod"},
    [],
    "10.0.0.3",
    None,
]


@pytest.mark.parametrize("bad", BAD_ENDPOINTS, ids=json.dumps)
def test_a_malformed_endpoint_is_set_aside_alone(bad: Any) -> None:
    good = [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]
    endpoints, flaws = read_endpoints(good[0], bad, good[1])
    assert [endpoint.address for endpoint in endpoints] == ["10.0.0.1", "10.0.0.2"]
    assert flaws == 1


@pytest.mark.parametrize("address", ["10.0.0.1", "example.com", "::1::"])
def test_an_address_of_the_wrong_family_is_set_aside(address: str) -> None:
    assert read_endpoints({"addresses": [address]}, family="IPv6") == ([], 1)


@pytest.mark.parametrize(
    ("port", "kept", "flaws"),
    [
        ({"name": "grpc", "port": 1}, (SlicePort("grpc", 1),), 0),
        ({"name": None, "port": 65535}, (SlicePort("", 65535),), 0),
        ({"port": 80}, (SlicePort("", 80),), 0),
        ({"name": "grpc"}, (), 0),
        ({"name": "grpc", "port": None}, (), 0),
        ({"name": "grpc", "port": 0}, (), 0),
        ({"name": "grpc", "port": -1}, (), 1),
        ({"name": "grpc", "port": 65536}, (), 1),
        ({"name": "grpc", "port": "80"}, (), 1),
        (None, (), 1),
    ],
)
def test_ports(port: Any, kept: tuple[SlicePort, ...], flaws: int) -> None:
    item = read(with_(ports=[port]))
    assert item.value is not None
    assert (item.value.ports, item.flaws) == (kept, flaws)
    assert item.value.endpoints == (ENDPOINT,)


def set_aside(**fields: Any) -> tuple[tuple[str, ...], int]:
    item = read(with_(**fields))
    assert item.value is not None
    return item.value.set_aside, item.flaws


def test_a_slice_of_a_derived_service_is_its_service_s() -> None:
    both = {
        "kubernetes.io/service-name": "derived-abc",
        "multicluster.kubernetes.io/service-name": "greeter",
    }
    item = read(with_(metadata={"name": "a", "namespace": "b", "labels": both}))
    assert item.value is not None
    assert item.value.service == ServiceKey("b", "derived-abc")


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
def test_ports_that_grpc_does_not_run_on_are_left_out_and_told(protocol: str) -> None:
    ports = [{"name": "dns", "port": 53, "protocol": protocol}, *WHOLE["ports"]]
    item = read(with_(ports=ports))
    assert item.value is not None
    assert item.value.ports == (SlicePort("grpc", 50051),)
    assert item.value.set_aside == (f"port 'dns' is left out: {protocol}, and gRPC runs on TCP",)
    assert item.flaws == 0


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        (None, Hints()),
        ({}, Hints()),
        ({"forZones": None, "forNodes": None}, Hints()),
        ({"forZones": []}, Hints()),
        ({"forZones": [{"name": "a"}, {"name": "b"}]}, Hints(("a", "b"))),
        ({"forNodes": [{"name": "n"}]}, Hints((), ("n",))),
    ],
)
def test_hints(hints: Any, expected: Hints) -> None:
    [endpoint], flaws = read_endpoints({"addresses": ["10.0.0.1"], "hints": hints})
    assert (endpoint.hints, flaws) == (expected, 0)


@pytest.mark.parametrize("hints", [5, [], {"forZones": "a"}, {"forZones": [5]}, {"forNodes": [1]}])
def test_malformed_hints_are_set_aside_alone(hints: Any) -> None:
    endpoint = {**WHOLE["endpoints"][0], "hints": hints}
    endpoints, flaws = read_endpoints({"addresses": ["10.0.0.9"]}, endpoint)
    assert endpoints[1] == msgspec.structs.replace(ENDPOINT, hints=Hints())
    assert flaws == 1
    sentences, _ = set_aside(endpoints=[endpoint])
    assert sentences[0].startswith("the hints of 10.0.0.1 are set aside: ")


@pytest.mark.parametrize("annotations", [5, [], {"lookaside.dev/weight": 5}])
def test_malformed_annotations_are_set_aside_alone(annotations: Any) -> None:
    item = read(with_(metadata={**WHOLE["metadata"], "annotations": annotations}))
    assert item.value is not None
    assert (item.value.weight, item.value.endpoints, item.flaws) == ("", (ENDPOINT,), 1)
    assert "set aside: Expected" in item.value.set_aside[0]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"endpoints": [{"addresses": ["10.0.0.256"]}]},
            "an endpoint is set aside: '10.0.0.256' is not an IPv4 address",
        ),
        ({"endpoints": [{}]}, "an endpoint is set aside: it has no address"),
        (
            {"endpoints": [{"addresses": ["x" * 1000]}]},
            f"an endpoint is set aside: '{'x' * 100}' is not an IPv4 address",
        ),
        (
            {"endpoints": [{"addresses": ["x.y"]}], "addressType": "IPv6"},
            "an endpoint is set aside: 'x.y' is not an IPv6 address",
        ),
        (
            {"endpoints": [{"addresses": ["a_b"]}], "addressType": "FQDN"},
            "an endpoint is set aside: 'a_b' is not a host name",
        ),
        (
            {"endpoints": [{"addresses": ["10.0.0.1"]}, "x"]},
            "endpoint 2 is set aside: Expected `object`, got `str`",
        ),
        (
            {"addressType": "IPv5"},
            "its endpoints are set aside: address type 'IPv5' is not known",
        ),
        (
            {"ports": [{"name": "grpc", "port": 65536}]},
            "port 'grpc' is set aside: 65536 is not within 1 to 65535",
        ),
        ({"ports": [7]}, "port 1 is set aside: Expected `object`, got `int`"),
    ],
)
def test_what_is_set_aside_has_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    assert set_aside(**fields) == ((sentence,), 1)


def test_endpoints_share_their_hints() -> None:
    bare = {"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "eu-1a"}]}}
    [one, other], _ = read_endpoints(bare, bare)
    assert one.hints is other.hints


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"addressType": 4}, ("grpc", "greeter-abc")),
        ({"addressType": None}, ("grpc", "greeter-abc")),
        ({"endpoints": {}}, ("grpc", "greeter-abc")),
        ({"ports": 80}, ("grpc", "greeter-abc")),
        ({"metadata": {"name": "a", "namespace": "b", "labels": 5}}, ("b", "a")),
        ({"metadata": {"name": "a"}}, None),
        ({"metadata": None}, None),
    ],
)
def test_a_malformed_slice_is_set_aside(
    fields: dict[str, Any], key: tuple[str, str] | None
) -> None:
    item = read(with_(**fields))
    assert (item.key, item.value, item.malformed) == (key, None, True)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["addresses", "conditions", "ready", "port", "name", "zone"]),
            children,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=4), st.lists(JSON, max_size=4))
def test_no_endpoint_or_port_harms_another(endpoints: list[Any], ports: list[Any]) -> None:
    item = read(
        with_(
            endpoints=[*endpoints, *WHOLE["endpoints"]],
            ports=[*ports, *WHOLE["ports"]],
        )
    )
    assert item.value is not None
    assert item.value.endpoints[-1] == ENDPOINT
    assert item.value.ports[-1] == SlicePort("grpc", 50051)
    assert len(item.value.endpoints) - 1 + item.flaws >= len(endpoints)


@given(st.lists(JSON | st.just(WHOLE)))
def test_no_object_harms_another(objects: list[Any]) -> None:
    body = {"metadata": {"resourceVersion": "1"}, "items": objects}
    items = ENDPOINT_SLICES.page(json.dumps(body).encode()).items
    assert [item.value is not None for item in items] == [each is WHOLE for each in objects]
    assert all(item.malformed for item in items if item.value is None)
