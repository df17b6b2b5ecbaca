"""Whatever bytes come, each decoder reads them or refuses them with an error of its own.

Real payloads with one value, or some bytes, put in the place of another. The examples are the same
in every run; `FUZZ_EXAMPLES=3000 FUZZ_SEED=7` makes so many others, which pytest's `--timeout=0`
lets run.
"""

import asyncio
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from lookaside.api.wire import WireEncoder, explanation
from lookaside.errors import ConfigError, InvalidServiceName, RequestError
from lookaside.metrics import Metrics
from lookaside.model import ServiceKey, ServiceName, ServiceRecord
from lookaside.policy.service_config import parse_service_config
from lookaside.policy.weights import parse_rules, parse_weight
from lookaside.registry.cluster import Cluster
from lookaside.registry.store import Store
from lookaside.sources.endpoints_file import parse
from lookaside.sources.kubernetes import Kubeconfig
from lookaside.sources.kubernetes.api.decode import Change, Codec, decode_status
from lookaside.sources.kubernetes.api.errors import KubernetesError
from lookaside.sources.kubernetes.api.token_review import reviewed
from lookaside.sources.kubernetes.objects.endpoint_slices import ENDPOINT_SLICES
from lookaside.sources.kubernetes.objects.pods import PODS
from lookaside.sources.kubernetes.objects.services import SERVICES

T = TypeVar("T", bound=Callable[..., None])

_SEED: Final = os.environ.get("FUZZ_SEED", "")
_BOUNDS: Final = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), derandomize=not _SEED
)


def fuzz(test: T) -> T:
    """Bound a property: 150 examples, the same in every run, unless the environment says else."""
    bounded = _BOUNDS(test)
    return seed(int(_SEED))(bounded) if _SEED else bounded


HOLE: Final = "a hole"

META: Final = {
    "namespace": "shop",
    "uid": "1cd0d3c4-8b1e-4b5d-9f5e-1d2c3b4a5f60",
    "resourceVersion": "1234",
    "generation": 2,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:ports": {}}}}],
}
SLICE: Final = {
    "kind": "EndpointSlice",
    "apiVersion": "discovery.k8s.io/v1",
    "metadata": META
    | {
        "name": "cart-x7k2p",
        "labels": {"kubernetes.io/service-name": "cart"},
        "annotations": {"lookaside.dev/weight": "50"},
    },
    "addressType": "IPv4",
    "endpoints": [
        {
            "addresses": ["10.1.0.7"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "hostname": "cart-0",
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "cart-0", "uid": "u"},
            "nodeName": "worker-1",
            "zone": "eu-1a",
            "hints": {"forZones": [{"name": "eu-1a"}], "forNodes": [{"name": "worker-1"}]},
        }
    ],
    "ports": [{"name": "grpc", "port": 50051, "protocol": "TCP", "appProtocol": "h2c"}],
}
SERVICE: Final = {
    "kind": "Service",
    "apiVersion": "v1",
    "metadata": META
    | {
        "name": "cart",
        "annotations": {
            "lookaside.dev/weights": "- {zone: eu-1a, weight: 50}",
            "lookaside.dev/service-config": '{"loadBalancingConfig":[{"round_robin":{}}]}',
        },
    },
    "spec": {
        "type": "ClusterIP",
        "ports": [{"name": "grpc", "port": 80, "targetPort": "grpc", "protocol": "TCP"}],
        "clusterIP": "10.96.0.7",
        "ipFamilies": ["IPv4"],
        "internalTrafficPolicy": "Cluster",
    },
}
POD: Final = {
    "kind": "PartialObjectMetadata",
    "apiVersion": "meta.k8s.io/v1",
    "metadata": META
    | {
        "name": "cart-0",
        "labels": {"app": "cart", "version": "v2"},
        "annotations": {"lookaside.dev/weight": "7"},
    },
}
RESOURCES: Final[dict[str, tuple[Codec[Any, Any], dict[str, Any]]]] = {
    "slices": (ENDPOINT_SLICES, SLICE),
    "services": (SERVICES, SERVICE),
    "pods": (PODS, POD),
}

# Values as text: many of them are more than `json` can write.
VALUES: Final = [
    b"null", b"true", b"0", b"-1", b"70000", b"1.5", b"1e400", b"9" * 5_000,
    b"-9223372036854775809",
    b'""', b'"x"', b'"\\u0000"', b'"\\ud800"', b'"\xff"', b'"\xed\xa0\x80"',
    b'"%s"' % (b"x" * 9_999),
    b'"9999999999999999999"', b'"1:2:3"', b'"..%2f"', b'"::ffff:1.2.3.4"', b'"10.0.0.0.1"',
    b"[]", b"[null]", b"[[[]]]", b"[1,2]", b"{}", b'{"name":5}', b'{"a":1,"a":[]}',
    b"[" * 2_000 + b"]" * 2_000, b'{"f:a":' * 2_000 + b"1" + b"}" * 2_000,
    b'[{"name":"a"},{"name":null},5]', b'{"lookaside.dev/weights":"[[[[[[["}',
    b'{"kubernetes.io/service-name":"cart","":""}',
]  # fmt: skip
NAMES: Final = ["", "name", "metadata", "items", "port", "\0", "x" * 5_000, "kind", "type"]
BYTES: Final = [
    b"",
    b"\0",
    b"\xff",
    b'"',
    b"{",
    b"}",
    b"[" * 3_000,
    b"\\u",
    b"\n",
    b": ",
    b"- ",
    b"&a *a",
]


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value within one."""
    yield path
    inner: Collection[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for key, each in inner:
        yield from places(each, (*path, key))


def with_hole(value: Any, path: Sequence[str | int]) -> Any:
    """Return a copy with a hole at a path."""
    if not path:
        return HOLE
    copy = value.copy()
    copy[path[0]] = with_hole(value[path[0]], path[1:])
    return copy


def written(value: Any, filling: bytes = b"null") -> bytes:
    """Write JSON, with a filling for its hole."""
    return json.dumps(value).encode().replace(b'"%s"' % HOLE.encode(), filling)


@st.composite
def objects(draw: st.DrawFn, original: dict[str, Any]) -> bytes:
    """An object with another value somewhere, or a member with another name."""
    path = draw(st.sampled_from(list(places(original))[1:]))
    text = written(with_hole(original, path), draw(st.sampled_from(VALUES)))
    if isinstance(path[-1], str) and draw(st.booleans()):
        name = json.dumps(draw(st.sampled_from(NAMES))).encode()
        text = text.replace(json.dumps(path[-1]).encode(), name)
    return text


@st.composite
def garbled(draw: st.DrawFn, original: bytes) -> bytes:
    """A text with pieces left out, doubled or put in the place of others."""
    text = original
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 20)))
        piece = draw(st.sampled_from(BYTES) | st.binary(max_size=8) | st.just(text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    return text


def served(cluster: Cluster) -> dict[str, bytes]:
    """Do what a source and a client's requests do with a cluster; return the lists' bytes."""
    return served_records(cluster.records())


def served_records(records: Sequence[ServiceRecord]) -> dict[str, bytes]:
    store = Store(
        ["s"],
        encoder=WireEncoder(),
        observer=Metrics("test"),
        clock=lambda: 0.0,
        synced=lambda source: None,
    )
    store.feeds["s"].replace(records, version=1, epoch="e", at=0.0)
    found: dict[str, bytes] = {}
    for snapshot in store.snapshots():
        explanation(*store.explain(snapshot.service))
        found[str(snapshot.service)] = store.get(snapshot.service).whole()
    for record in records:
        with suppress(RequestError):
            store.get(ServiceName(record.key))
    return found


def renamed(original: dict[str, Any]) -> dict[str, Any]:
    """Return the same object of another service."""
    text = json.dumps(original).replace("cart", "good")
    copy: dict[str, Any] = json.loads(text)
    return copy


def filled(items: dict[str, list[Any]]) -> Cluster:
    cluster = Cluster(pods=True)
    cluster.replace_services(items["services"])
    cluster.replace_slices(items["slices"])
    cluster.replace_pods(items["pods"])
    return cluster


@pytest.mark.parametrize("resource", RESOURCES)
@fuzz
@given(st.data())
def test_an_object_that_holds_anything_changes_nothing_for_its_neighbours(
    resource: str, data: st.DataObject
) -> None:
    codec, original = RESOURCES[resource]
    bad = data.draw(objects(original))
    good = written(renamed(original))
    page = codec.page(
        b'{"kind":"List","metadata":{"resourceVersion":"9"},"items":[%s,%s]}' % (bad, good)
    )
    assert page.version == "9"
    assert len(page.items) == 2
    event = codec.event(b'{"type":"MODIFIED","object":%s}' % bad)
    assert isinstance(event, Change)
    assert event.item == page.items[0]

    values = {
        name: [each.page(written_list(one, renamed(one))).items[n].value for n in (0, 1)]
        for name, (each, one) in RESOURCES.items()
    }
    alone = served(filled(values))["good.shop:grpc"]
    values[resource] = [item.value for item in page.items if item.value is not None]
    assert served(filled(values))["good.shop:grpc"] == alone


def written_list(*objects: dict[str, Any]) -> bytes:
    return written({"metadata": {"resourceVersion": "9"}, "items": list(objects)})


@pytest.mark.parametrize("resource", RESOURCES)
@fuzz
@given(st.data())
def test_bytes_of_the_api_server_are_read_or_refused(resource: str, data: st.DataObject) -> None:
    codec, original = RESOURCES[resource]
    page = data.draw(garbled(written_list(original, original)))
    line = data.draw(garbled(written({"type": "ADDED", "object": original})))
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    for read, text in (
        (codec.page, page),
        (codec.event, line),
        (codec.event, data.draw(garbled(written(bookmark)))),
    ):
        with suppress(KubernetesError):
            read(text)
    refusal = decode_status(data.draw(garbled(written({"code": 403, "message": "no"}))), 403)
    assert refusal.code == 403


@fuzz
@given(garbled(written({"status": {"authenticated": True, "audiences": ["lb"]}})))
def test_answers_to_token_reviews_are_read_or_refused(body: bytes) -> None:
    with suppress(KubernetesError):
        reviewed(body, "lb")


FILE: Final = b"""\
services:
  greeter.grpc-services: &a
    endpoints:
      - address: 127.0.0.1:50061
        weight: 50
        zone: eu-1a
        metadata: {version: v2}
  other:
    endpoints: [{address: "[::1]:1"}, {address: host.example:2}]
"""


@fuzz
@given(data=st.data())
def test_an_endpoints_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    try:
        text = data.draw(garbled(FILE)).decode()
    except UnicodeDecodeError:
        return
    with suppress(ConfigError):
        served_records(parse(text, "endpoints.yaml"))


ANNOTATIONS: Final[dict[str, tuple[Callable[[str], object], bytes]]] = {
    "weight": (parse_weight, b"100"),
    "weights": (parse_rules, b"- {labels: {version: v2}, weight: 10}\n- {zone: eu-1a, weight: 50}"),
    "service-config": (
        parse_service_config,
        (
            b'{"methodConfig":[{"name":[{"service":"a"}],"timeout":"1s","retryPolicy":{"maxAttempts":3,'
            b'"initialBackoff":"0.1s","maxBackoff":"1s","backoffMultiplier":2,'
            b'"retryableStatusCodes":["UNAVAILABLE"]}}],"retryThrottling":{"maxTokens":10,'
            b'"tokenRatio":0.1},"slowStart":{"window":"30s"}}'
        ),
    ),
}


@pytest.mark.parametrize("annotation", ANNOTATIONS)
@fuzz
@given(st.data())
def test_an_annotation_is_read_or_refused(annotation: str, data: st.DataObject) -> None:
    read, original = ANNOTATIONS[annotation]
    text = data.draw(garbled(original)).decode("utf-8", "surrogateescape")
    with suppress(ValueError):
        read(text)


@fuzz
@given(garbled(b"greeter.grpc-services.svc.cluster.local:grpc"))
def test_a_service_name_is_read_or_refused(text: bytes) -> None:
    with suppress(InvalidServiceName):
        assert isinstance(ServiceName.parse(text.decode("latin-1")).key, ServiceKey)


KUBECONFIG: Final = b"""\
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me, namespace: shop}}]
clusters: [{name: here, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: me, user: {token: secret}}]
"""


@fuzz
@given(data=st.data())
def test_a_kubeconfig_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path: Path = tmp_path_factory.mktemp("kubeconfig") / "config"
    path.write_bytes(data.draw(garbled(KUBECONFIG)))
    with suppress(ConfigError):
        asyncio.run(Kubeconfig(path).load())
