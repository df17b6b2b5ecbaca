import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.model import ServiceKey
from lookaside.registry.slices import Slice, SliceEndpoint, SlicePort
from lookaside.sources.kubernetes.decode import Item
from lookaside.sources.kubernetes.slices import ENDPOINT_SLICES

WHOLE: dict[str, Any] = {
    "metadata": {
        "name": "greeter-abc",
        "namespace": "grpc",
        "resourceVersion": "42",
        "labels": {"kubernetes.io/service-name": "greeter", "app": "x"},
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
            "hints": {"forZones": [{"name": "eu-1a"}]},
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


@pytest.mark.parametrize("nothing", [{}, {"endpoints": None, "ports": None}])
def test_nil_lists_are_legal(nothing: dict[str, Any]) -> None:
    bare = {key: value for key, value in WHOLE.items() if key in ("metadata", "addressType")}
    item = read({**bare, **nothing})
    assert item.value is not None
    assert (item.value.ports, item.value.endpoints, item.flaws) == ((), (), 0)


@pytest.mark.parametrize("labels", [None, {}, {"app": "x"}, {"kubernetes.io/service-name": ""}])
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
    {"addresses": ["010.0.0.1"]},
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


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"addressType": 4}, ("grpc", "greeter-abc")),
        ({"addressType": None}, ("grpc", "greeter-abc")),
        ({"endpoints": {}}, ("grpc", "greeter-abc")),
        ({"ports": 80}, ("grpc", "greeter-abc")),
        ({"metadata": {"name": "a", "namespace": "b", "labels": 5}}, None),
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
