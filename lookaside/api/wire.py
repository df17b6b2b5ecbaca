"""The wire form of snapshots, by the field numbers that both responses share."""

from collections.abc import Sequence

from lookaside._pb import lookaside_pb2 as pb
from lookaside.logging import get_logger
from lookaside.model import (
    Endpoint,
    EndpointExplanation,
    Explanation,
    Health,
    Locality,
    Revision,
    ServiceName,
    Snapshot,
    State,
    target,
)
from lookaside.registry.diff import ListDiff
from lookaside.registry.steps import Steps, chunks

_STATES = {
    State.PRESENT: pb.STATE_PRESENT,
    State.EMPTY: pb.STATE_EMPTY,
    State.ABSENT: pb.STATE_ABSENT,
    State.STALE: pb.STATE_STALE,
}
_HEALTH = {
    Health.UNSPECIFIED: pb.HEALTH_UNSPECIFIED,
    Health.READY: pb.HEALTH_READY,
    Health.TERMINATING: pb.HEALTH_TERMINATING,
}


RECEIVE_LIMIT = 4 * 1024 * 1024
"""Bytes that gRPC's clients accept in one message by default."""

_log = get_logger("api.wire")


class WireEncoder:
    """Encodes as WatchServersResponse, whose bytes are those of GetServersResponse too.

    A `lookaside.registry.store.Encoder`. Of each service whose list is larger than gRPC's clients
    take by default, it warns once.
    """

    def __init__(self) -> None:
        self._large: set[ServiceName] = set()

    def snapshot(self, snapshot: Snapshot) -> Steps[bytes]:
        """Encode a whole snapshot; equal snapshots give equal bytes."""
        parts = yield from _servers(snapshot.endpoints)
        encoded = b"".join((*parts, _message(snapshot).SerializeToString(deterministic=True)))
        if len(encoded) > RECEIVE_LIMIT and snapshot.service not in self._large:
            self._large.add(snapshot.service)
            _log.warning(
                "a list is larger than gRPC's clients accept by default: raise their receive limit",
                service=str(snapshot.service),
                endpoints=len(snapshot.endpoints),
                bytes=len(encoded),
                limit=RECEIVE_LIMIT,
            )
        return encoded

    def delta(self, snapshot: Snapshot, base: str, difference: ListDiff) -> Steps[bytes]:
        """Encode a snapshot as its difference from the one whose digest is the base."""
        parts = yield from _servers(difference.changed)
        message = _message(snapshot)
        message.delta.base = base
        message.delta.removed.extend(difference.removed)
        return b"".join((*parts, message.SerializeToString(deterministic=True)))

    def revision(self, revision: Revision) -> bytes:
        """Encode a revision alone: appended to a snapshot's bytes, it takes the place of theirs."""
        return pb.WatchServersResponse(revision=_revision(revision)).SerializeToString()


def explanation(snapshot: Snapshot, explained: Explanation) -> bytes:
    """Return a list with its reasons, as the bytes of an ExplainResponse."""
    message = pb.ExplainResponse(
        service=str(snapshot.service),
        source=snapshot.source,
        state=_STATES[snapshot.state],
        revision=_revision(snapshot.revision),
        notes=explained.notes,
    )
    # In parts, since another thread can't run while protobuf encodes.
    parts = (
        pb.ExplainResponse(endpoints=map(_explained, chunk)).SerializeToString()
        for chunk in chunks(explained.endpoints)
    )
    return b"".join((message.SerializeToString(), *parts))


def summaries(snapshots: Sequence[Snapshot]) -> Steps[bytes]:
    """Return snapshots without their servers, as the bytes of a ListServicesResponse."""
    parts = []
    for chunk in chunks(snapshots):
        message = pb.ListServicesResponse(services=map(_summary, chunk))
        parts.append(message.SerializeToString())
        yield 0
    return b"".join(parts)


def _summary(snapshot: Snapshot) -> pb.ServiceSummary:
    return pb.ServiceSummary(
        service=str(snapshot.service),
        source=snapshot.source,
        state=_STATES[snapshot.state],
        servers=len(snapshot.endpoints),
        revision=_revision(snapshot.revision),
        external_name=snapshot.external_name,
    )


def _servers(endpoints: Sequence[Endpoint]) -> Steps[list[bytes]]:
    """Encode a message's servers, which come first in it: messages one after the other merge."""
    encoded = []
    for chunk in chunks(endpoints):
        message = pb.WatchServersResponse(servers=map(_server, chunk))
        encoded.append(message.SerializeToString(deterministic=True))
        yield 0
    return encoded


def _message(snapshot: Snapshot) -> pb.WatchServersResponse:
    """Return a message without its servers."""
    return pb.WatchServersResponse(
        revision=_revision(snapshot.revision),
        state=_STATES[snapshot.state],
        service=str(snapshot.service),
        service_config=snapshot.service_config,
    )


def _explained(endpoint: EndpointExplanation) -> pb.EndpointExplanation:
    return pb.EndpointExplanation(
        address=target(endpoint.address, endpoint.port) if endpoint.port else endpoint.address,
        listed=endpoint.listed,
        reason=endpoint.reason,
        slice=endpoint.slice,
        resource_version=endpoint.resource_version,
        weight=endpoint.weight,
        weight_origin=endpoint.weight_origin,
        target=endpoint.target,
        locality=_locality(endpoint.locality),
    )


def _server(endpoint: Endpoint) -> pb.Server:
    return pb.Server(
        address=endpoint.target,
        weight=endpoint.weight,
        metadata=dict(endpoint.metadata),
        locality=_locality(endpoint.locality),
        health=_HEALTH[endpoint.health],
    )


def _locality(locality: Locality) -> pb.Locality | None:
    if locality == Locality():
        return None
    return pb.Locality(zone=locality.zone, node=locality.node)


def _revision(revision: Revision) -> pb.Revision:
    return pb.Revision(digest=revision.digest, version=revision.version, epoch=revision.epoch)
