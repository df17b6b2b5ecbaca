"""From the EndpointSlices of a Service to its endpoints, by kube-proxy's rules.

The rules are those of ``pkg/proxy/topology.go`` and ``pkg/proxy/endpointslicecache.go`` in
kubernetes/kubernetes: ready endpoints, or, where there are none, those that are terminating and
still serve.
"""

from collections.abc import Iterable

from lookaside.model import Endpoint, Health, Locality, ServiceRecord
from lookaside.registry.slices import Service, Slice, SliceEndpoint

PREFERRED_FAMILY = "IPv4"


def merge(service: Service, slices: Iterable[Slice]) -> ServiceRecord:
    """Return what the slices say of a service, the same for every order of the slices.

    A Pod that stands in two slices, as while the controller moves it, is one endpoint; so is a Pod
    with an address in each family. Slices of type FQDN are deprecated and left out.
    """
    ordered = sorted(
        (slice_ for slice_ in slices if slice_.address_type != "FQDN"),
        key=lambda slice_: (slice_.address_type != PREFERRED_FAMILY, slice_.name),
    )
    return ServiceRecord(
        key=service.key,
        ports=service.ports,
        endpoints={port.name: _of_port(port.name, ordered) for port in service.ports},
        external_name=service.external_name,
    )


def _of_port(name: str, slices: list[Slice]) -> tuple[Endpoint, ...]:
    candidates = [
        (endpoint, port.number, slice_.address_type)
        for slice_ in slices
        for port in slice_.ports
        if port.name == name
        for endpoint in slice_.endpoints
    ]
    chosen = _distinct([one for one in candidates if one[0].ready], Health.READY)
    if not chosen:
        draining = [one for one in candidates if one[0].serving and one[0].terminating]
        chosen = _distinct(draining, Health.TERMINATING)
    return tuple(sorted(chosen))


def _distinct(
    candidates: list[tuple[SliceEndpoint, int, str]], health: Health
) -> Iterable[Endpoint]:
    by_target: dict[tuple[str, int], Endpoint] = {}
    family_of: dict[str, str] = {}
    for endpoint, port, family in candidates:
        uid = endpoint.target_uid
        if uid and family_of.setdefault(uid, family) != family:
            continue
        by_target.setdefault(
            (endpoint.address, port),
            Endpoint(
                address=endpoint.address,
                port=port,
                health=health,
                locality=Locality(endpoint.zone, endpoint.node),
            ),
        )
    return by_target.values()
