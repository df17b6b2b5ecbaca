"""Services of core/v1 (staging/src/k8s.io/api/core/v1/types.go)."""

import msgspec
from msgspec import Raw, Struct

from lookaside.model import ServiceKey, ServicePort
from lookaside.registry.slices import Service
from lookaside.sources.kubernetes.decode import Codec, Item, decode, each
from lookaside.sources.kubernetes.meta import Annotations, LooseMeta, Meta


class _Port(Struct, gc=False):
    port: int
    name: str | None = None
    protocol: str | None = None


class _Spec(Struct, gc=False, rename="camel"):
    type: str | None = None
    external_name: str | None = None
    ports: list[_Port] | None = None


class ServiceJson(Struct, gc=False):
    """The JSON of a Service."""

    metadata: Meta
    spec: _Spec


class _LooseSpec(Struct, gc=False, rename="camel"):
    type: str | None = None
    external_name: str | None = None
    ports: list[Raw] | None = None


class _LooseService(Struct, gc=False):
    metadata: LooseMeta
    spec: _LooseSpec


_LOOSE = msgspec.json.Decoder(_LooseService)
_PORT = msgspec.json.Decoder(_Port)
_NONE = Annotations()
# No protocol is TCP (core/v1 ServicePort).
_CARRIES_GRPC = (None, "", "TCP")


def convert_service(json: ServiceJson) -> Item[Service]:
    """Make a service of well-formed JSON.

    Ports with no valid number are set aside; those of UDP and SCTP are left out, since gRPC does
    not run on them.
    """
    meta, spec = json.metadata, json.spec
    annotations = meta.annotations or _NONE
    valid = [port for port in spec.ports or () if 0 < port.port < 65536]
    value = Service(
        ServiceKey(meta.namespace, meta.name),
        tuple(
            ServicePort(port.name or "", port.port)
            for port in valid
            if port.protocol in _CARRIES_GRPC
        ),
        (spec.external_name or "") if spec.type == "ExternalName" else "",
        annotations.weights or "",
        annotations.service_config or "",
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
    spec = _Spec(loose.spec.type, loose.spec.external_name, ports)
    item = convert_service(ServiceJson(meta, spec))
    flaws = item.flaws + len(bad_annotations) + len(bad_ports)
    return Item(item.key, item.value, item.version, flaws)


SERVICES = Codec(ServiceJson, convert_service, salvage_service)
