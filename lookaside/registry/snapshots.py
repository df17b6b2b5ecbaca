"""From what a source knows of a service to the snapshot of one of its ports."""

from collections.abc import Collection

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
from lookaside.registry.feed import SourceFeed
from lookaside.registry.steps import Steps, chunks, finish

# An error is sent as a header; clients accept 8 KiB.
_SHOWN = 20


def resolve_port(name: ServiceName, record: ServiceRecord, *, aliases: bool = False) -> ServiceName:
    """Return the name with the port's own name instead of "" or a number.

    Args:
        name: The service, and what the client says of the port.
        record: What its source knows of the service.
        aliases: Whether a DNS alias is to be let through.

    Raises:
        ExternalNameService: The service is a DNS alias.
        AmbiguousPort: The service has several ports and the name says none.
        InvalidServiceName: The service has no such port.
    """
    if record.external_name:
        if aliases:
            return ServiceName(name.key)
        raise ExternalNameService(
            f"service {name.key} is an ExternalName: dial {record.external_name} by DNS"
        )
    if not name.port:
        if len(record.ports) > 1:
            raise AmbiguousPort(
                f"service {name.key} has several ports, name one of them: {_listed(record)}"
            )
        return ServiceName(name.key, record.ports[0].name if record.ports else "")
    # A port may be called by the number of another: what is a name is meant as one.
    names = {port.name: port.name for port in record.ports}
    numbers = {str(port.number): port.name for port in reversed(record.ports) if port.number}
    for known in (names, numbers):
        if name.port in known:
            return ServiceName(name.key, known[name.port])
    raise InvalidServiceName(f"service {name.key} has no port {name.port!r}{_instead(record)}")


def presenting(
    name: ServiceName,
    record: ServiceRecord,
    endpoints: tuple[Endpoint, ...],
    *,
    source: str,
    stale: bool,
    version: int,
    epoch: str,
) -> Steps[Snapshot]:
    """Return the snapshot of a port that `resolve_port` has named.

    Args:
        name: The service and the port's own name.
        record: What its source knows of the service.
        endpoints: Those of its endpoints that are in the list.
        source: The source's name.
        stale: Whether its view may be out of date for longer than is tolerated.
        version: The source's version up to which this is known to hold.
        epoch: The span of time within which versions may be compared.
    """
    found = State.PRESENT if endpoints else State.EMPTY
    state = State.STALE if stale else found
    digest = yield from _digest(name, state, endpoints, record.service_config)
    revision = Revision(digest, version, epoch)
    return Snapshot(
        name, source, state, endpoints, revision, record.service_config, record.external_name
    )


def absent(name: ServiceName, feeds: Collection[SourceFeed]) -> Snapshot:
    """Return the snapshot of a service that no source knows.

    Its absence too holds up to a version, where one source alone has versions.
    """
    state = (
        State.STALE if any(feed.is_stale(name.key.namespace) for feed in feeds) else State.ABSENT
    )
    digest = finish(_digest(name, state, ()))
    ordered = [feed for feed in feeds if feed.version]
    if len(ordered) != 1:
        return Snapshot(name, "", state, (), Revision(digest))
    revision = Revision(digest, ordered[0].version_of(name.key), ordered[0].epoch)
    return Snapshot(name, "", state, (), revision)


def _digest(
    name: ServiceName, state: State, endpoints: tuple[Endpoint, ...], service_config: str = ""
) -> Steps[str]:
    """Hash a list over its canonical form: MessagePack of the records, whose order is fixed."""
    hashed = xxhash.xxh3_128()
    hashed.update(msgspec.msgpack.encode((name, state, len(endpoints), service_config)))
    for chunk in chunks(endpoints):
        hashed.update(msgspec.msgpack.encode(chunk))
        yield 0
    return hashed.hexdigest()


def _instead(record: ServiceRecord) -> str:
    if not record.ports:
        return ": it has no ports at all, so that nothing can be dialled"
    if record.ports == (ServicePort(),):
        return ": its only one has no name or number, ask for it without a port"
    return f", it has: {_listed(record)}"


def _listed(record: ServiceRecord) -> str:
    shown = ", ".join(_shown(port) for port in record.ports[:_SHOWN])
    more = len(record.ports) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _shown(port: ServicePort) -> str:
    if port.name and port.number:
        return f"{port.name} ({port.number})"
    return port.name or str(port.number)
