"""The wire form of snapshots, by the field numbers that both responses share."""

from collections.abc import Iterable

from lookaside._pb import lookaside_pb2 as pb
from lookaside.logging import get_logger
from lookaside.model import (
    Endpoint,
    Explanation,
    Health,
    Locality,
    Revision,
    ServiceName,
    Snapshot,
    State,
    Verdict,
    target,
)
from lookaside.registry.diff import Difference

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
"""Bytes that gRPC's clients take in one message unless they are told otherwise."""

_log = get_logger("api.wire")


class WireEncoder:
    """Encodes as WatchServersResponse, whose bytes are those of GetServersResponse too.

    A `lookaside.registry.store.Encoder`. Of each service whose list is larger than gRPC's clients
    take by default, it warns once.
    """

    def __init__(self) -> None:
        self._large: set[ServiceName] = set()

    def snapshot(self, snapshot: Snapshot) -> bytes:
        """Encode a whole snapshot; equal snapshots give equal bytes."""
        message = _message(snapshot, snapshot.endpoints)
        encoded = message.SerializeToString(deterministic=True)
        if len(encoded) > RECEIVE_LIMIT and snapshot.service not in self._large:
            self._large.add(snapshot.service)
            _log.warning(
                "a list is larger than gRPC's clients take by default: raise their receive limit",
                service=str(snapshot.service),
                endpoints=len(snapshot.endpoints),
                bytes=len(encoded),
                limit=RECEIVE_LIMIT,
            )
        return encoded

    def delta(self, snapshot: Snapshot, base: str, difference: Difference) -> bytes:
        """Encode a snapshot as its difference from the one whose digest is the base."""
        message = _message(snapshot, difference.changed)
        message.delta.base = base
        message.delta.removed.extend(difference.removed)
        return message.SerializeToString(deterministic=True)

    def revision(self, revision: Revision) -> bytes:
        """Encode a revision alone: appended to a snapshot's bytes, it takes the place of theirs."""
        return pb.WatchServersResponse(revision=_revision(revision)).SerializeToString()


def explanation(snapshot: Snapshot, explained: Explanation) -> pb.ExplainResponse:
    """Return a list with its reasons."""
    return pb.ExplainResponse(
        service=str(snapshot.service),
        source=snapshot.source,
        state=_STATES[snapshot.state],
        revision=_revision(snapshot.revision),
        notes=explained.notes,
        endpoints=map(_verdict, explained.verdicts),
    )


def summary(snapshot: Snapshot) -> pb.ServiceSummary:
    """Return a snapshot without its servers."""
    return pb.ServiceSummary(
        service=str(snapshot.service),
        source=snapshot.source,
        state=_STATES[snapshot.state],
        servers=len(snapshot.endpoints),
        revision=_revision(snapshot.revision),
    )


def _message(snapshot: Snapshot, endpoints: Iterable[Endpoint]) -> pb.WatchServersResponse:
    return pb.WatchServersResponse(
        servers=map(_server, endpoints),
        revision=_revision(snapshot.revision),
        state=_STATES[snapshot.state],
        service=str(snapshot.service),
        service_config=snapshot.service_config,
    )


def _verdict(verdict: Verdict) -> pb.EndpointExplanation:
    return pb.EndpointExplanation(
        address=target(verdict.address, verdict.port) if verdict.port else verdict.address,
        listed=verdict.listed,
        reason=verdict.reason,
        slice=verdict.slice,
        resource_version=verdict.resource_version,
        weight=verdict.weight,
        weight_origin=verdict.weight_origin,
        target=verdict.target,
        locality=_locality(verdict.locality),
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
