"""Random objects of a small cluster, and how the registry is told of them."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from lookaside.model import Hints, ServiceKey, ServicePort
from lookaside.registry import slices as registry
from lookaside.registry.cluster import Cluster
from tests.registry import kubeproxy
from tests.registry.kubeproxy import Annotation, Endpoint, Pod, Rule, Service, Slice

Item = Service | Slice | Pod

# Most of what happens concerns one service: a history of many has little to say of each.
SERVICES = st.sampled_from(("greeter", "greeter", "greeter", "greeter", "other"))
NAMESPACES = st.sampled_from(("shop", "shop", "shop", "shop", "mall"))
PORTS = ("", "grpc", "admin")
ZONES = ("a", "b")
NODES = ("n1", "n2")
PODS = ("", "p1", "p2", "p3")

WEIGHTS = (
    Annotation(),
    Annotation("50", 50),
    Annotation("0", 0),
    Annotation(" 7 ", 7),
    Annotation("ten"),
    Annotation("-1"),
    Annotation("1000001"),
)
RULES = (
    Annotation(),
    Annotation("[]", ()),
    Annotation("[{labels: {v: x}, weight: 10}]", (Rule(10, (("v", "x"),)),)),
    Annotation("[{zone: a, weight: 3}, {weight: 4}]", (Rule(3, zone="a"), Rule(4))),
    Annotation(
        '[{"labels": {"v": "y"}, "zone": "b", "weight": 0}]', (Rule(0, (("v", "y"),), "b"),)
    ),
    Annotation("[{weight: -1}]"),
    Annotation("{{"),
    Annotation('- !!int ""'),
)
CONFIGS = (
    Annotation(),
    Annotation(
        '{"loadBalancingConfig": [{"round_robin": {}}]}',
        '{"loadBalancingConfig":[{"round_robin":{}}]}',
    ),
    Annotation('{"loadBalancingPolicy": 7}'),
)

_conditions = st.sampled_from((None, True, False))
_leaving: dict[str, Any] = {"ready": False, "serving": True, "terminating": True}
_ports = st.sampled_from(((PORTS[0],), ("grpc",), ("grpc", "admin"), ("", "grpc"), ()))


@st.composite
def endpoints(draw: st.DrawFn, family: str, kind: str) -> Endpoint:
    last = draw(st.integers(1, 4))
    address = {"IPv4": f"10.0.0.{last}", "IPv6": f"fd00::{last}"}.get(family, f"h{last}.example")
    pod = draw(st.sampled_from(PODS))
    one = Endpoint(
        address,
        zone=draw(st.sampled_from(("", *ZONES))),
        node=draw(st.sampled_from(("", *NODES))),
        pod=pod,
        uid=pod and draw(st.sampled_from((f"uid of {pod}", f"uid of {pod}", "", "uid"))),
    )
    match kind:
        case "plain":
            return one
        case "leaving":
            return replace(one, **_leaving)
        case "hinted":
            zones = draw(st.sampled_from((("a",), ("b",), ("a", "b"))))
            nodes = draw(st.sampled_from((("n1",), ("n2",))))
            return replace(one, zone_hints=zones, node_hints=nodes)
        case "hinted by zone":
            return replace(one, zone_hints=(draw(st.sampled_from(ZONES)),))
    return replace(
        one, ready=draw(_conditions), serving=draw(_conditions), terminating=draw(_conditions)
    )


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    family = draw(st.sampled_from(("IPv4", "IPv4", "IPv4", "IPv6", "IPv6", "FQDN")))
    kind = draw(st.sampled_from(("plain", "leaving", "hinted", "hinted by zone", "mixed", "mixed")))
    numbers = st.sampled_from((50051, 50051, 50051, 6000))
    ports = draw(st.sampled_from((PORTS, PORTS, PORTS, PORTS, ("grpc",), ())))
    return Slice(
        draw(NAMESPACES),
        draw(st.sampled_from(("s1", "s2", "s3"))),
        draw(SERVICES),
        family,
        tuple((port, draw(numbers)) for port in ports),
        tuple(draw(st.lists(endpoints(family, kind), max_size=4))),
        draw(st.sampled_from(WEIGHTS)),
    )


services = st.builds(
    Service,
    NAMESPACES,
    SERVICES,
    _ports,
    st.sampled_from(("", "", "", "", "", "db.example")),
    st.sampled_from(RULES),
    st.sampled_from(CONFIGS),
    st.sampled_from(((), ("IPv4", "IPv6"), ("IPv4", "IPv6"), ("IPv4",), ("IPv6",))),
    st.sampled_from((False, False, True)),
    st.sampled_from((False, False, True)),
)
pods = st.builds(
    Pod,
    NAMESPACES,
    st.sampled_from(PODS[1:]),
    st.sampled_from(("uid", "another")),
    st.sampled_from(((), (("v", "x"),), (("v", "y"), ("team", "t")))),
    st.sampled_from(WEIGHTS),
)
items = st.one_of(services, slices(), slices(), pods)
clients = st.builds(
    kubeproxy.Client, st.sampled_from(("", *ZONES, "c")), st.sampled_from(("", *NODES, "n3"))
)


def key_of(item: Service | Slice) -> ServiceKey:
    name = item.name if isinstance(item, Service) else item.service
    return ServiceKey(item.namespace, name)


def as_slice(one: Slice, version: str = "") -> registry.Slice:
    return registry.Slice(
        key_of(one),
        one.name,
        one.family,
        tuple(registry.SlicePort(*port) for port in one.ports),
        tuple(map(_as_endpoint, one.endpoints)),
        one.weight.text,
        version,
    )


def as_service(one: Service) -> registry.Service:
    ports = tuple(ServicePort(name, 80 + PORTS.index(name)) for name in one.ports)
    return registry.Service(
        key_of(one),
        ports,
        one.external_name,
        one.weights.text,
        one.config.text,
        one.families,
        one.local,
        one.sticky,
    )


def as_pod(one: Pod) -> registry.Pod:
    return registry.Pod(one.namespace, one.name, one.uid, dict(one.labels), one.weight.text)


def put(cluster: Cluster, item: Item) -> None:
    """Tell the registry that an object is there, or has changed."""
    match item:
        case Service():
            cluster.set_service(as_service(item))
        case Slice():
            cluster.set_slice(as_slice(item))
        case Pod():
            cluster.set_pod(as_pod(item))


def take(cluster: Cluster, item: Item) -> None:
    """Tell the registry that an object is gone."""
    match item:
        case Service():
            cluster.remove_service(key_of(item))
        case Slice():
            cluster.remove_slice(item.namespace, item.name)
        case Pod():
            cluster.remove_pod(item.namespace, item.name)


def _as_endpoint(one: Endpoint) -> registry.SliceEndpoint:
    return registry.SliceEndpoint(
        one.address,
        ready=one.ready is not False,
        serving=one.serving is not False,
        terminating=one.terminating is True,
        zone=one.zone,
        node=one.node,
        target_uid=one.uid,
        target_name=one.pod,
        target_kind="Pod" if one.pod else "",
        hints=Hints(one.zone_hints, one.node_hints),
    )
