"""EndpointSlices of discovery.k8s.io/v1 (staging/src/k8s.io/api/discovery/v1/types.go)."""

import re
from functools import lru_cache
from sys import intern

import msgspec
from msgspec import Raw, Struct

from lookaside.model import Hints, ServiceKey, canonical_host
from lookaside.registry.slices import Slice, SliceEndpoint, SlicePort
from lookaside.sources.kubernetes.api.decode import Codec, Item, Unreadable, decode, each
from lookaside.sources.kubernetes.objects.meta import Annotations, LooseMeta, Meta

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_CANONICAL_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII).fullmatch
_PADDED_IPV4 = re.compile(rf"0*{_OCTET}(?:\.0*{_OCTET}){{3}}", re.ASCII).fullmatch
_FAMILIES = ("IPv4", "IPv6", "FQDN")
_LONGEST_QUOTE = 100


class _Conditions(Struct, gc=False):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _TargetRef(Struct, gc=False):
    kind: str | None = None
    name: str | None = None
    uid: str | None = None


class _Named(Struct, gc=False):
    # kube-proxy takes a hint that has no name for a hint all the same.
    name: str = ""


class _Hints(Struct, gc=False, rename="camel"):
    for_zones: list[_Named] | None = None
    for_nodes: list[_Named] | None = None


class _Endpoint(Struct, gc=False, rename="camel"):
    addresses: list[str] | None = None
    conditions: _Conditions | None = None
    hostname: str | None = None
    node_name: str | None = None
    target_ref: _TargetRef | None = None
    zone: str | None = None
    hints: Raw = Raw(b"null")


class _Port(Struct, gc=False):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class EndpointSliceJson(Struct, gc=False, rename="camel"):
    """The JSON of an EndpointSlice."""

    metadata: Meta
    address_type: str
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class _LooseSlice(Struct, gc=False, rename="camel"):
    metadata: LooseMeta
    address_type: str
    endpoints: list[Raw] | None = None
    ports: list[Raw] | None = None


_LOOSE = msgspec.json.Decoder(_LooseSlice)
_ENDPOINT = msgspec.json.Decoder(_Endpoint)
_HINTS = msgspec.json.Decoder(_Hints | None)
_PORT = msgspec.json.Decoder(_Port)
_NIL = _Conditions()
_NO_TARGET = _TargetRef()
_NO_ANNOTATIONS = Annotations()


def convert_slice(json: EndpointSliceJson, flaws: tuple[str, ...] = ()) -> Item[Slice]:
    """Make a slice of well-formed JSON. Endpoints with no valid address are set aside.

    A slice without the label kubernetes.io/service-name is no Service's: one that has
    multicluster.kubernetes.io/service-name alone is an import that kube-proxy ignores too.

    Args:
        json: The slice.
        flaws: What of it was malformed, a sentence each.
    """
    meta = json.metadata
    key = (meta.namespace, meta.name)
    service = meta.labels.service_name if meta.labels else None
    if not service:
        return Item(key, None, meta.resource_version)
    ports, bad_ports, idle_ports = _ports(json.ports or ())
    endpoints, bad_endpoints = _endpoints(json)
    flaws = (*flaws, *bad_ports, *bad_endpoints)
    value = Slice(
        ServiceKey(intern(meta.namespace), service),
        meta.name,
        intern(json.address_type),
        tuple(ports),
        tuple(endpoints),
        (meta.annotations or _NO_ANNOTATIONS).weight or "",
        meta.resource_version,
        (*flaws, *idle_ports),
    )
    return Item(key, value, meta.resource_version, len(flaws))


def salvage_slice(raw: bytes | Raw) -> Item[Slice]:
    """Make a slice of what is well-formed in a slice that is not.

    Raises:
        Unreadable: Its metadata or address type is wrong, or a list is no list.
    """
    loose = decode(_LOOSE, raw)
    meta, bad_annotations = loose.metadata.meta()
    endpoints, bad_endpoints = each(_ENDPOINT, loose.endpoints, "endpoint")
    ports, bad_ports = each(_PORT, loose.ports, "port")
    return convert_slice(
        EndpointSliceJson(meta, loose.address_type, endpoints, ports),
        (*bad_annotations, *bad_ports, *bad_endpoints),
    )


ENDPOINT_SLICES = Codec(EndpointSliceJson, convert_slice, salvage_slice)


def _ports(ports: list[_Port] | tuple[()]) -> tuple[list[SlicePort], list[str], list[str]]:
    """Return the ports, what was malformed of them, and those that gRPC has no use for."""
    good: list[SlicePort] = []
    flaws: list[str] = []
    idle: list[str] = []
    for port in ports:
        name = intern(port.name or "")
        # kube-proxy skips a port with no number too (pkg/proxy/endpointslicecache.go).
        if not port.port:
            continue
        if not 0 < port.port < 65536:
            flaws.append(f"port {name!r} is set aside: {port.port} is not within 1 to 65535")
        elif port.protocol in (None, "", "TCP"):
            good.append(SlicePort(name, port.port))
        else:
            idle.append(intern(f"port {name!r} is left out: {port.protocol}, and gRPC runs on TCP"))
    return good, flaws, idle


def _endpoints(json: EndpointSliceJson) -> tuple[list[SliceEndpoint], list[str]]:
    family = json.address_type
    if json.endpoints and family not in _FAMILIES:
        return [], [f"its endpoints are set aside: address type {family!r} is not known"]
    good: list[SliceEndpoint] = []
    flaws: list[str] = []
    for endpoint in json.endpoints or ():
        try:
            address = _address(endpoint.addresses, family)
        except ValueError as error:
            flaws.append(f"an endpoint is set aside: {error}")
            continue
        try:
            hints = _hints(bytes(endpoint.hints))
        except Unreadable as error:
            flaws.append(f"the hints of {address} are set aside: {error}")
            hints = Hints()
        good.append(_endpoint(endpoint, address, hints))
    return good, flaws


def _endpoint(json: _Endpoint, address: str, hints: Hints) -> SliceEndpoint:
    conditions = json.conditions or _NIL
    target = json.target_ref or _NO_TARGET
    return SliceEndpoint(
        address,
        conditions.ready is not False,
        conditions.serving is not False,
        conditions.terminating is True,
        intern(json.zone or ""),
        intern(json.node_name or ""),
        target.uid or "",
        target.name or "",
        json.hostname or "",
        intern(target.kind or ""),
        hints,
    )


# A cluster has few zones and nodes, and hundreds of thousands of endpoints with hints.
@lru_cache(maxsize=4096)
def _hints(raw: bytes) -> Hints:
    hints = decode(_HINTS, raw) or _Hints()
    return Hints(_names(hints.for_zones), _names(hints.for_nodes))


def _names(named: list[_Named] | None) -> tuple[str, ...]:
    return tuple([intern(each.name) for each in named or ()])


def _address(addresses: list[str] | None, family: str) -> str:
    if not addresses:
        raise ValueError("it has no address")
    address = addresses[0]
    if family == "IPv4":
        if _CANONICAL_IPV4(address):
            return address
        # Decimal to kube-proxy too (ParseIPSloppy): older API servers let such addresses in.
        if _PADDED_IPV4(address):
            return ".".join([str(int(octet)) for octet in address.split(".")])
        raise ValueError(f"{address[:_LONGEST_QUOTE]!r} is not an IPv4 address")
    try:
        host = canonical_host(address)
    except ValueError:
        host = ""
    if not host or (family == "IPv6" and ":" not in host):
        what = "an IPv6 address" if family == "IPv6" else "a host name"
        raise ValueError(f"{address[:_LONGEST_QUOTE]!r} is not {what}")
    return host
