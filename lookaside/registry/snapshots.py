"""From what a source knows of a service to the snapshot of one of its ports."""

import msgspec
import xxhash

from lookaside.errors import AmbiguousPort, ExternalNameService, InvalidServiceName
from lookaside.model import (
    Endpoint,
    Revision,
    ServiceName,
    ServicePort,
    ServiceRecord,
    Snapshot,
    State,
)


def resolve_port(name: ServiceName, record: ServiceRecord) -> ServiceName:
    """Return the name with the port's own name in the place of "" or a number.

    Raises:
        ExternalNameService: The service is a DNS alias.
        AmbiguousPort: The service has several ports and the name says none.
        InvalidServiceName: The service has no such port.
    """
    if record.external_name:
        raise ExternalNameService(
            f"service {name.key} is an ExternalName: dial {record.external_name} by DNS"
        )
    if not name.port:
        if len(record.ports) > 1:
            raise AmbiguousPort(
                f"service {name.key} has several ports, name one of them: {_listed(record)}"
            )
        return ServiceName(name.key, record.ports[0].name if record.ports else "")
    for port in record.ports:
        if name.port in (port.name, str(port.number or "")):
            return ServiceName(name.key, port.name)
    raise InvalidServiceName(
        f"service {name.key} has no port {name.port!r}, it has: {_listed(record) or 'none'}"
    )


def present(
    name: ServiceName, record: ServiceRecord, *, source: str, stale: bool, version: int, epoch: str
) -> Snapshot:
    """Return the snapshot of a port that `resolve_port` has named."""
    endpoints = record.endpoints.get(name.port, ())
    found = State.PRESENT if endpoints else State.EMPTY
    state = State.STALE if stale else found
    revision = Revision(_digest(name, state, endpoints), version, epoch)
    return Snapshot(name, source, state, endpoints, revision)


def absent(name: ServiceName, *, stale: bool) -> Snapshot:
    """Return the snapshot of a service that no source knows."""
    state = State.STALE if stale else State.ABSENT
    return Snapshot(name, "", state, (), Revision(_digest(name, state, ())))


def _digest(name: ServiceName, state: State, endpoints: tuple[Endpoint, ...]) -> str:
    """Hash a list over its canonical form: MessagePack of the records, whose order is fixed."""
    return xxhash.xxh3_128_hexdigest(msgspec.msgpack.encode((name, state, endpoints)))


def _listed(record: ServiceRecord) -> str:
    return ", ".join(_shown(port) for port in record.ports)


def _shown(port: ServicePort) -> str:
    return f"{port.name or '(unnamed)'} ({port.number})" if port.number else port.name
