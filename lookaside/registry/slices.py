"""Records of a Kubernetes source: EndpointSlices, Services and Pods.

The fields are those of discovery.k8s.io/v1 EndpointSlice, core/v1 Service and core/v1 Pod that
decide over traffic; the nil of a condition has been replaced by its meaning. Annotations are as
written.
"""

from collections.abc import Mapping

from msgspec import Struct

from lookaside.model import Hints, ServiceKey, ServicePort


class SlicePort(Struct, frozen=True, gc=False):
    """A port of a slice: the Service port's name, and the number to dial."""

    name: str
    number: int


class SliceEndpoint(Struct, frozen=True, gc=False):
    """An endpoint of a slice.

    Attributes:
        address: The first of its addresses, in its canonical form.
        ready: It may get traffic. nil is true.
        serving: It answers, though it may be terminating. nil is true.
        terminating: It is shutting down. nil is false.
        zone: The zone that it runs in, or "".
        node: The node that it runs on, or "".
        target_uid: The UID of the object behind it, a Pod's in general, or "".
        target_name: The name of that object, or "".
        hostname: The host name that it has in DNS, or "".
        target_kind: The kind of that object, or "".
        hints: The clients that it is meant for.
    """

    address: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zone: str = ""
    node: str = ""
    target_uid: str = ""
    target_name: str = ""
    hostname: str = ""
    target_kind: str = ""
    hints: Hints = Hints()

    @property
    def pod(self) -> str:
        """The name of the Pod behind it, or ""."""
        return self.target_name if self.target_kind == "Pod" else ""


class Slice(Struct, frozen=True, gc=False):
    """An EndpointSlice.

    Attributes:
        service: The service that it belongs to.
        name: Its own name, unique in the namespace.
        address_type: "IPv4", "IPv6" or "FQDN".
        ports: Its ports; those with no number are left out.
        endpoints: Its endpoints.
        weight: Its annotation lookaside.dev/weight, or "".
        resource_version: Its resource version.
        set_aside: What of it could not be read, a sentence each.
    """

    service: ServiceKey
    name: str
    address_type: str
    ports: tuple[SlicePort, ...]
    endpoints: tuple[SliceEndpoint, ...]
    weight: str = ""
    resource_version: str = ""
    set_aside: tuple[str, ...] = ()


class Service(Struct, frozen=True, gc=False):
    """A Service.

    Attributes:
        key: Its namespace and name.
        ports: The ports that clients ask by.
        external_name: The DNS name that it is an alias of, or "".
        weights: Its annotation lookaside.dev/weights, or "".
        service_config: Its annotation lookaside.dev/service-config, or "".
        families: The families of its addresses, "IPv4" and "IPv6"; none: not known, any counts.
        local: Its internalTrafficPolicy is Local: clients get the endpoints of their node alone.
        sticky: Its sessionAffinity is ClientIP.
    """

    key: ServiceKey
    ports: tuple[ServicePort, ...] = ()
    external_name: str = ""
    weights: str = ""
    service_config: str = ""
    families: tuple[str, ...] = ()
    local: bool = False
    sticky: bool = False


class Pod(Struct, frozen=True, gc=False):
    """The metadata of a Pod.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        uid: Its UID.
        labels: Its labels.
        weight: Its annotation lookaside.dev/weight, or "".
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    weight: str = ""
