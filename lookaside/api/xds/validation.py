"""The rules by which clients refuse resources, checked before one is sent. Pure.

A refused resource is lost as a whole, and the client goes on with the one before; by Envoy all of
its response is. So what would be refused is not sent. Each rule was met with a real client, or is
written in gRFC A27, A42, A50 or A52.
"""

import contextlib
import socket
from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from lookaside._pb.xds import cluster_pb2, endpoint_pb2, listener_pb2, route_pb2
from lookaside._pb.xds.http_connection_manager_pb2 import HttpConnectionManager
from lookaside._pb.xds.ring_hash_pb2 import RingHash
from lookaside._pb.xds.router_pb2 import Router
from lookaside._pb.xds.wrr_locality_pb2 import WrrLocality
from lookaside.api.xds.kinds import ClientKind
from lookaside.errors import LookasideError
from lookaside.registry.steps import CHUNK, Steps

M = TypeVar("M", bound=Message)

LARGEST_SUM = 2**32 - 1
"""What the weights of one priority may come to."""

_LARGEST_RING = 8_388_608


class InvalidResource(LookasideError):
    """A client might refuse a resource; the text says which and why."""


Checked = (
    endpoint_pb2.ClusterLoadAssignment
    | cluster_pb2.Cluster
    | listener_pb2.Listener
    | route_pb2.RouteConfiguration
)


def check(message: Checked, kind: ClientKind) -> Steps[None]:
    """Check a resource.

    Args:
        message: The resource.
        kind: What the client is built of that it is for.

    Raises:
        InvalidResource: The client might refuse it.
    """
    for count, fault in enumerate(_faults(message, kind)):
        if fault is not None:
            raise InvalidResource(f"{message.DESCRIPTOR.name}: {fault}")
        if count % CHUNK == CHUNK - 1:
            yield 0


def _faults(message: Checked, kind: ClientKind) -> Iterator[str | None]:
    match message:
        case endpoint_pb2.ClusterLoadAssignment():
            return _endpoints(message)
        case cluster_pb2.Cluster():
            return _cluster(message, kind)
        case listener_pb2.Listener():
            return _listener(message)
        case route_pb2.RouteConfiguration():
            return _routes(message)


def is_ip(text: str) -> bool:
    """Whether an address is an IP address, which is all that xDS takes."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, text)
            return True
    return False


def _endpoints(message: endpoint_pb2.ClusterLoadAssignment) -> Iterator[str | None]:
    """Yield what is wrong with endpoints, and None for each that was looked at."""
    if not message.cluster_name:
        yield "it has no name"
    addresses = set[tuple[str, int]]()
    localities = set[tuple[int, str, str, str]]()
    totals = dict[int, int]()
    for group in message.endpoints:
        where = group.locality
        place = (group.priority, where.region, where.zone, where.sub_zone)
        if not group.HasField("locality") or place in localities:
            yield f"the locality {place} is missing, or stands twice in one priority"
        localities.add(place)
        if not group.load_balancing_weight.value or not group.lb_endpoints:
            yield f"the locality {place} has no weight, or no endpoints"
        totals[group.priority] = totals.get(group.priority, 0) + group.load_balancing_weight.value
        yield from _members(group, addresses)
    if max(totals.values(), default=0) > LARGEST_SUM:
        yield "the weights of a priority's localities are too large"
    if sorted(totals) != list(range(len(totals))):
        yield f"there is a gap in the priorities {sorted(totals)}"


def _members(
    group: endpoint_pb2.LocalityLbEndpoints, addresses: set[tuple[str, int]]
) -> Iterator[str | None]:
    total = 0
    for one in group.lb_endpoints:
        dialled = one.endpoint.address.socket_address
        address = dialled.address, dialled.port_value
        if address in addresses:
            yield f"the address {address} stands twice"
        addresses.add(address)
        if not is_ip(dialled.address) or not 0 < dialled.port_value < 65536:
            yield f"{address} is no IP address and port"
        if not one.load_balancing_weight.value:
            yield f"the endpoint {address} has no weight"
        total += one.load_balancing_weight.value
        yield None
    if total > LARGEST_SUM:
        yield "the weights of a locality's endpoints are too large"


def _cluster(message: cluster_pb2.Cluster, kind: ClientKind) -> Iterator[str | None]:
    if not message.name:
        yield "it has no name"
    if message.type != cluster_pb2.Cluster.EDS:
        yield "it is not of type EDS"
    if not message.eds_cluster_config.eds_config.HasField("ads"):
        yield "its endpoints are not from ADS"
    policies = message.load_balancing_policy
    if kind.proxy:
        if policies.policies:
            yield "Envoy is given its policy by lb_policy"
    elif message.lb_policy != cluster_pb2.Cluster.ROUND_ROBIN:
        # C-core and Node refuse LEAST_REQUEST, Go and Java a ring without a hash function.
        yield "gRPC is given its policy by load_balancing_policy"
    elif not policies.policies:
        yield "it has no policy"
    yield from _ladder(policies, kind)
    yield from _outliers(message.outlier_detection)
    if len(message.circuit_breakers.thresholds) > 1:
        yield "its circuit breakers have thresholds for one priority twice"


def _ladder(policies: cluster_pb2.LoadBalancingPolicy, kind: ClientKind) -> Iterator[str]:
    names = [one.typed_extension_config.typed_config.type_url for one in policies.policies]
    if len(names) != len(set(names)):
        yield "a policy stands twice in one list"
    for one in policies.policies:
        typed = one.typed_extension_config.typed_config
        if _is(typed, WrrLocality):
            inner = _unpacked(typed, WrrLocality()).endpoint_picking_policy
            if not inner.policies:
                yield "a policy over localities has none inside them"
            yield from _ladder(inner, kind)
        elif _is(typed, RingHash):
            yield from _ring(_unpacked(typed, RingHash()), kind)


def _ring(ring: RingHash, kind: ClientKind) -> Iterator[str]:
    if ring.hash_function != RingHash.XX_HASH:
        yield "the ring has no hash function XX_HASH"
    given = ring.HasField("minimum_ring_size") or ring.HasField("maximum_ring_size")
    if given and not kind.sizes_rings:
        yield "this client takes no size of a ring"
    least = ring.minimum_ring_size.value if ring.HasField("minimum_ring_size") else 1024
    most = ring.maximum_ring_size.value if ring.HasField("maximum_ring_size") else _LARGEST_RING
    if not 0 < least <= most <= _LARGEST_RING:
        yield f"the ring's size is from {least} to {most}"


def _outliers(detection: cluster_pb2.OutlierDetection) -> Iterator[str]:
    for field, value in detection.ListFields():
        if isinstance(value, Duration):
            if value.seconds < 0 or value.nanos < 0 or value.seconds > 315_576_000_000:
                yield f"{field.name} is no length of time"
        elif (
            field.name.startswith("enforcing")
            or field.name in ("max_ejection_percent", "failure_percentage_threshold")
        ) and value.value > 100:
            yield f"{field.name} is above 100 percent"


def _listener(message: listener_pb2.Listener) -> Iterator[str | None]:
    if not message.name:
        yield "it has no name"
    managers = [message.api_listener.api_listener] if message.HasField("api_listener") else []
    managers += [one.typed_config for chain in message.filter_chains for one in chain.filters]
    if not managers:
        yield "it leads nowhere"
    for typed in managers:
        manager = _unpacked(typed, HttpConnectionManager())
        if not manager.rds.route_config_name:
            yield "it names no route configuration"
        last = manager.http_filters[-1].typed_config if manager.http_filters else Any()
        if not _is(last, Router):
            yield "its last filter is not the router"


def _routes(message: route_pb2.RouteConfiguration) -> Iterator[str | None]:
    if not message.name:
        yield "it has no name"
    domains = [domain for host in message.virtual_hosts for domain in host.domains]
    if not domains or len(domains) != len(set(domains)):
        yield "its virtual hosts have no domain, or the same"
    for host in message.virtual_hosts:
        if not host.routes:
            yield "a virtual host has no route"
        for route in host.routes:
            match = route.match.WhichOneof("path_specifier")
            if match is None or not getattr(route.match, match).startswith("/"):
                yield "a route matches no path"
            if not route.route.cluster:
                yield "a route has no cluster"
            if route.route.HasField("retry_policy"):
                yield from _retries(route.route.retry_policy)
            yield None


def _retries(policy: route_pb2.RetryPolicy) -> Iterator[str]:
    if not policy.num_retries.value:
        yield "a retry policy has no retries"
    wait = policy.retry_back_off
    base, most = wait.base_interval.ToNanoseconds(), wait.max_interval.ToNanoseconds()
    if policy.HasField("retry_back_off") and not 0 < base <= most:
        yield "a retry policy waits for no time, or for less than at first"


def _is(typed: Any, message: type[Message]) -> bool:
    return typed.TypeName() == message.DESCRIPTOR.full_name


def _unpacked(typed: Any, message: M) -> M:
    if not typed.Unpack(message):
        raise InvalidResource(f"{typed.type_url} is not {message.DESCRIPTOR.full_name}")
    return message
