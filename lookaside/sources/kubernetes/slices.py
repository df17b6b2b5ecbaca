"""EndpointSlices of discovery.k8s.io/v1 (staging/src/k8s.io/api/discovery/v1/types.go)."""

import re
from sys import intern

import msgspec
from msgspec import Raw, Struct

from lookaside.model import ServiceKey, canonical_host
from lookaside.registry.slices import Slice, SliceEndpoint, SlicePort
from lookaside.sources.kubernetes.decode import Codec, Item, Meta, each

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_CANONICAL_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII).fullmatch


class _Conditions(Struct, gc=False):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _TargetRef(Struct, gc=False):
    uid: str | None = None
    name: str | None = None


class _Endpoint(Struct, gc=False, rename="camel"):
    addresses: list[str] | None = None
    conditions: _Conditions | None = None
    hostname: str | None = None
    node_name: str | None = None
    target_ref: _TargetRef | None = None
    zone: str | None = None


class _Port(Struct, gc=False):
    name: str | None = None
    port: int | None = None


class EndpointSliceJson(Struct, gc=False, rename="camel"):
    """The JSON of an EndpointSlice."""

    metadata: Meta
    address_type: str
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class _LooseSlice(Struct, gc=False, rename="camel"):
    metadata: Meta
    address_type: str
    endpoints: list[Raw] | None = None
    ports: list[Raw] | None = None


_LOOSE = msgspec.json.Decoder(_LooseSlice)
_ENDPOINT = msgspec.json.Decoder(_Endpoint)
_PORT = msgspec.json.Decoder(_Port)
_NIL = _Conditions()
_NO_TARGET = _TargetRef()


def convert_slice(json: EndpointSliceJson) -> Item[Slice]:
    """Make a slice of well-formed JSON. Endpoints with no valid address are set aside."""
    meta = json.metadata
    key = (meta.namespace, meta.name)
    service = meta.labels.service_name if meta.labels else None
    if not service:
        return Item(key, None, meta.resource_version)
    flaws = 0
    endpoints: list[SliceEndpoint] = []
    family = json.address_type
    for endpoint in json.endpoints or ():
        try:
            endpoints.append(_endpoint(endpoint, family))
        except ValueError:
            flaws += 1
    ports: list[SlicePort] = []
    for port in json.ports or ():
        # kube-proxy skips a port with no number too (pkg/proxy/endpointslicecache.go).
        if not port.port:
            continue
        if 0 < port.port < 65536:
            ports.append(SlicePort(port.name or "", port.port))
        else:
            flaws += 1
    value = Slice(
        ServiceKey(intern(meta.namespace), service),
        meta.name,
        intern(family),
        tuple(ports),
        tuple(endpoints),
    )
    return Item(key, value, meta.resource_version, flaws)


def salvage_slice(raw: bytes | Raw) -> Item[Slice]:
    """Make a slice of what is well-formed in a slice that is not.

    Raises:
        msgspec.DecodeError: Its metadata or address type is wrong, or a list is no list.
    """
    loose = _LOOSE.decode(raw)
    endpoints, bad_endpoints = each(_ENDPOINT, loose.endpoints)
    ports, bad_ports = each(_PORT, loose.ports)
    item = convert_slice(EndpointSliceJson(loose.metadata, loose.address_type, endpoints, ports))
    flaws = item.flaws + bad_endpoints + bad_ports if item.value is not None else 0
    return Item(item.key, item.value, item.version, flaws)


ENDPOINT_SLICES = Codec(EndpointSliceJson, convert_slice, salvage_slice)


def _endpoint(json: _Endpoint, family: str) -> SliceEndpoint:
    conditions = json.conditions or _NIL
    target = json.target_ref or _NO_TARGET
    return SliceEndpoint(
        _address(json.addresses, family),
        conditions.ready is not False,
        conditions.serving is not False,
        conditions.terminating is True,
        intern(json.zone or ""),
        intern(json.node_name or ""),
        target.uid or "",
        target.name or "",
        json.hostname or "",
    )


def _address(addresses: list[str] | None, family: str) -> str:
    if not addresses:
        raise ValueError("an endpoint has no address")
    address = addresses[0]
    if family == "IPv4":
        if _CANONICAL_IPV4(address):
            return address
        raise ValueError(f"{address!r} is not an IPv4 address")
    host = canonical_host(address)
    if family == "IPv6" and ":" not in host:
        raise ValueError(f"{address!r} is not an IPv6 address")
    return host
