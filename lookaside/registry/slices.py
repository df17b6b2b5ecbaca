"""What a Kubernetes source knows, as records: EndpointSlices and Services.

The fields are those of discovery.k8s.io/v1 EndpointSlice and core/v1 Service that decide over
traffic; the nil of a condition has been replaced by its meaning.
"""

from msgspec import Struct

from lookaside.model import ServiceKey, ServicePort


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


class Slice(Struct, frozen=True):
    """An EndpointSlice.

    Attributes:
        service: The service that it belongs to.
        name: Its own name, unique in the namespace.
        address_type: "IPv4", "IPv6" or "FQDN".
        ports: Its ports; those with no number are left out.
        endpoints: Its endpoints.
    """

    service: ServiceKey
    name: str
    address_type: str
    ports: tuple[SlicePort, ...]
    endpoints: tuple[SliceEndpoint, ...]


class Service(Struct, frozen=True):
    """A Service: the ports that clients ask by, or the DNS name that it is an alias of."""

    key: ServiceKey
    ports: tuple[ServicePort, ...] = ()
    external_name: str = ""
