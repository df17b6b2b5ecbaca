"""What a list becomes in xDS for one kind of client: four resources of one name. Pure.

A listener leads to a route configuration, that to a cluster, and that to its endpoints. All four
bear the name as the client wrote it, so that a name that is written in two ways is two of each.
"""

from collections.abc import Mapping, Sequence

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from msgspec import Struct

from lookaside._pb.xds import cluster_pb2, core_pb2, listener_pb2, route_pb2
from lookaside._pb.xds import endpoint_pb2 as pb
from lookaside._pb.xds import http_connection_manager_pb2 as manager_pb2
from lookaside._pb.xds.http_protocol_options_pb2 import HttpProtocolOptions
from lookaside._pb.xds.router_pb2 import Router
from lookaside.api.xds.kinds import ClientKind
from lookaside.api.xds.policies import Config, Plan, ladder
from lookaside.api.xds.resource import Resource, Type
from lookaside.api.xds.validation import LARGEST_SUM, Checked, check, is_ip
from lookaside.model import Endpoint, Locality, Snapshot
from lookaside.policy.topology import ANYWHERE, Place
from lookaside.registry.steps import Steps, chunks

_ADS = core_pb2.ConfigSource(
    ads=core_pb2.AggregatedConfigSource(), resource_api_version=core_pb2.V3
)
_HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ROUTER = "envoy.filters.http.router"
_MANAGER = "envoy.filters.network.http_connection_manager"
_LOOPBACK = "127.0.0.1"
_CONNECT_TIMEOUT = 5


class Translation(Struct, frozen=True, weakref=True, eq=False):
    """The resources of one name for one kind of client.

    Attributes:
        resources: By type.
        unlisted: The endpoints that can't be in them: xDS takes IP addresses, no host names.
    """

    resources: Mapping[Type, Resource]
    unlisted: int = 0


def deciding(snapshot: Snapshot, place: Place) -> Place:
    """Return what of a client's place decides over what a list becomes."""
    return place if Config(snapshot.service_config).levels else ANYWHERE


def translating(
    name: str, snapshot: Snapshot, kind: ClientKind, place: Place, *, port: int = 0
) -> Steps[Translation]:
    """Make the resources of a list.

    Args:
        name: The name as the client wrote it.
        snapshot: The list.
        kind: What the client is built of.
        place: Where it runs; has an effect only where the service config has priorities by place.
        port: Where an Envoy is to listen; 0: nowhere, and there is no listener.

    Raises:
        InvalidResource: A client might refuse one of them.
    """
    config = Config(snapshot.service_config)
    dialled = [one for one in snapshot.endpoints if one.weight and is_ip(one.address)]
    unlisted = sum(not is_ip(one.address) for one in snapshot.endpoints)
    weights = scaled([one.weight for one in dialled])
    plan = config.plan(kind, weights)
    levels = priorities(dialled, config.levels, place)
    endpoints = yield from _assignment(name, dialled, weights, plan, levels)
    if config.overprovisioning is not None:
        endpoints.policy.overprovisioning_factor.value = config.overprovisioning
    made: dict[Type, Checked] = {
        Type.CLUSTER: _cluster(name, kind, plan, config),
        Type.ENDPOINTS: endpoints,
        Type.ROUTE: _routes(name, kind, config),
    }
    if port or not kind.proxy:
        made[Type.LISTENER] = _listener(name, port if kind.proxy else 0)
    for message in made.values():
        yield from check(message, kind)
    resources = {
        of: Resource(of, name, message.SerializeToString(deterministic=True))
        for of, message in made.items()
    }
    return Translation(resources, unlisted)


def scaled(weights: Sequence[int]) -> list[int]:
    """Return weights in proportion, none of them 0, whose sum clients can take."""
    total = sum(weights)
    if total <= LARGEST_SUM:
        return list(weights)
    room = LARGEST_SUM - len(weights)
    return [max(1, weight * room // total) for weight in weights]


def priorities(endpoints: Sequence[Endpoint], levels: Sequence[str], place: Place) -> list[int]:
    """Return the priority of each endpoint, without gaps: the nearer, the lower.

    Args:
        endpoints: The endpoints.
        levels: What makes one near: ``node``, ``zone``.
        place: Where the client runs.
    """
    near = [_distance(one.locality, levels, place) for one in endpoints]
    ranks = {distance: rank for rank, distance in enumerate(sorted(set(near)))}
    return [ranks[distance] for distance in near]


def _distance(locality: Locality, levels: Sequence[str], place: Place) -> int:
    for rank, level in enumerate(levels):
        ours = place.node if level == "node" else place.zone
        theirs = locality.node if level == "node" else locality.zone
        if ours and ours == theirs:
            return rank
    return len(levels)


def _assignment(
    name: str,
    endpoints: Sequence[Endpoint],
    weights: Sequence[int],
    plan: Plan,
    levels: Sequence[int],
) -> Steps[pb.ClusterLoadAssignment]:
    assignment = pb.ClusterLoadAssignment(cluster_name=name)
    groups = dict[tuple[int, str, str], pb.LocalityLbEndpoints]()
    for part in chunks(range(len(endpoints))):
        for index in part:
            one, weight, level = endpoints[index], weights[index], levels[index]
            key = (level, one.locality.zone, one.target) if plan.apart else (level, "", "")
            group = groups.get(key)
            if group is None:
                group = groups[key] = assignment.endpoints.add(priority=level)
                group.locality.CopyFrom(core_pb2.Locality(zone=key[1], sub_zone=key[2]))
                group.load_balancing_weight.value = weight if plan.apart else 1
            added = group.lb_endpoints.add()
            added.load_balancing_weight.value = 1 if plan.apart else weight
            socket = added.endpoint.address.socket_address
            socket.address, socket.port_value = one.address, one.port
        yield 0
    return assignment


def _cluster(name: str, kind: ClientKind, plan: Plan, config: Config) -> cluster_pb2.Cluster:
    cluster = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=_ADS),
        lb_policy=plan.envoy,
        load_balancing_policy=ladder(plan.policies) if plan.policies else None,
        outlier_detection=config.outliers(),
    )
    thresholds = config.thresholds()
    if thresholds is not None:
        cluster.circuit_breakers.thresholds.append(thresholds)
    if kind.proxy:
        cluster.connect_timeout.seconds = _CONNECT_TIMEOUT
        http = HttpProtocolOptions()
        http.explicit_http_config.http2_protocol_options.SetInParent()
        cluster.typed_extension_protocol_options[_HTTP2].Pack(http)
    return cluster


def _listener(name: str, port: int) -> listener_pb2.Listener:
    """Return what gRPC dials, or where an Envoy listens for the programs beside it."""
    routing = _packed(
        manager_pb2.HttpConnectionManager(
            stat_prefix=name,
            rds=manager_pb2.Rds(config_source=_ADS, route_config_name=name),
            http_filters=[manager_pb2.HttpFilter(name=_ROUTER, typed_config=_packed(Router()))],
        )
    )
    if not port:
        return listener_pb2.Listener(
            name=name, api_listener=listener_pb2.ApiListener(api_listener=routing)
        )
    socket = core_pb2.SocketAddress(address=_LOOPBACK, port_value=port)
    chain = listener_pb2.FilterChain(
        filters=[listener_pb2.Filter(name=_MANAGER, typed_config=routing)]
    )
    return listener_pb2.Listener(
        name=name, address=core_pb2.Address(socket_address=socket), filter_chains=[chain]
    )


def _routes(name: str, kind: ClientKind, config: Config) -> route_pb2.RouteConfiguration:
    host = route_pb2.VirtualHost(name=name, domains=["*"], routes=config.routes(name, kind))
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
