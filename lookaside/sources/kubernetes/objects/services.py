"""Services of core/v1 (staging/src/k8s.io/api/core/v1/types.go)."""

import msgspec
from msgspec import Raw, Struct

from lookaside.model import ServiceKey, ServicePort
from lookaside.registry.slices import Service
from lookaside.sources.kubernetes.api.decode import Codec, Item, decode, each
from lookaside.sources.kubernetes.objects.meta import Annotations, LooseMeta, Meta


class _Port(Struct, gc=False):
    port: int
    name: str | None = None
    protocol: str | None = None


class _SpecFields(Struct, gc=False, rename="camel"):
    type: str | None = None
    external_name: str | None = None
    cluster_ip: str | None = msgspec.field(name="clusterIP", default=None)
    ip_families: list[str] | None = None
    internal_traffic_policy: str | None = None
    session_affinity: str | None = None


class _Spec(_SpecFields, gc=False, rename="camel"):
    ports: list[_Port] | None = None


class ServiceJson(Struct, gc=False):
    """The JSON of a Service."""

    metadata: Meta
    spec: _Spec


class _LooseSpec(_SpecFields, gc=False, rename="camel"):
    ports: list[Raw] | None = None


class _LooseService(Struct, gc=False):
    metadata: LooseMeta
    spec: _LooseSpec


_LOOSE = msgspec.json.Decoder(_LooseService)
_PORT = msgspec.json.Decoder(_Port)
_NONE = Annotations()
# No protocol is TCP (core/v1 ServicePort).
_CARRIES_GRPC = (None, "", "TCP")
_FAMILIES = ("IPv4", "IPv6")


def convert_service(json: ServiceJson) -> Item[Service]:
    """Make a service of well-formed JSON.

    Ports with no valid number are set aside; those of UDP and SCTP are left out, since gRPC does
    not run on them.
    """
    meta, spec = json.metadata, json.spec
    annotations = meta.annotations or _NONE
    valid = [port for port in spec.ports or () if 0 < port.port < 65536]
    external = spec.type == "ExternalName"
    value = Service(
        ServiceKey(meta.namespace, meta.name),
        tuple(
            ServicePort(port.name or "", port.port)
            for port in valid
            # Of an alias without a name kube-proxy has no ports either (ShouldSkipService).
            if port.protocol in _CARRIES_GRPC and (not external or spec.external_name)
        ),
        (spec.external_name or "") if external else "",
        annotations.weights or "",
        annotations.service_config or "",
        _families(spec),
        spec.internal_traffic_policy == "Local",
        spec.session_affinity == "ClientIP",
    )
    flaws = len(spec.ports or ()) - len(valid)
    return Item((meta.namespace, meta.name), value, meta.resource_version, flaws)


def salvage_service(raw: bytes | Raw) -> Item[Service]:
    """Make a service of what is well-formed in a service that is not.

    Raises:
        Unreadable: Its metadata or spec is wrong.
    """
    loose = decode(_LOOSE, raw)
    meta, bad_annotations = loose.metadata.meta()
    ports, bad_ports = each(_PORT, loose.spec.ports, "port")
    fields = {name: getattr(loose.spec, name) for name in _SpecFields.__struct_fields__}
    spec = _Spec(**fields, ports=ports)
    item = convert_service(ServiceJson(meta, spec))
    flaws = item.flaws + len(bad_annotations) + len(bad_ports)
    return Item(item.key, item.value, item.version, flaws)


SERVICES = Codec(ServiceJson, convert_service, salvage_service)


def _families(spec: _Spec) -> tuple[str, ...]:
    """Return the families of a Service, as kube-proxy's GetClusterIPByFamily has them."""
    if spec.ip_families:
        return tuple([family for family in _FAMILIES if family in spec.ip_families])
    if not spec.cluster_ip or spec.cluster_ip == "None":
        return ()
    return ("IPv6",) if ":" in spec.cluster_ip else ("IPv4",)
