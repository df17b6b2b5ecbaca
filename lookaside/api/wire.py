"""The wire form of snapshots, by the field numbers that both responses share."""

from lookaside._pb import lookaside_pb2 as pb
from lookaside.model import Endpoint, Health, Locality, Revision, Snapshot, State

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


class WireEncoder:
    """Encodes as WatchServersResponse, whose bytes are those of GetServersResponse too.

    A `lookaside.registry.store.Encoder`.
    """

    def snapshot(self, snapshot: Snapshot) -> bytes:
        """Encode a whole snapshot; equal snapshots give equal bytes."""
        message = pb.WatchServersResponse(
            servers=map(_server, snapshot.endpoints),
            revision=_revision(snapshot.revision),
            state=_STATES[snapshot.state],
            service=str(snapshot.service),
        )
        return message.SerializeToString(deterministic=True)

    def revision(self, revision: Revision) -> bytes:
        """Encode a revision alone: appended to a snapshot's bytes, it takes the place of theirs."""
        return pb.WatchServersResponse(revision=_revision(revision)).SerializeToString()


def summary(snapshot: Snapshot) -> pb.ServiceSummary:
    """Return a snapshot without its servers."""
    return pb.ServiceSummary(
        service=str(snapshot.service),
        source=snapshot.source,
        state=_STATES[snapshot.state],
        servers=len(snapshot.endpoints),
        revision=_revision(snapshot.revision),
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
