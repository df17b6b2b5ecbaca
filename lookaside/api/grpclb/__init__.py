"""The door for gRPC's `grpclb` policy: ``grpc.lb.v1.LoadBalancer/BalanceLoad``.

Its lists have no weights and no state, IP addresses alone, and nothing of the client but the name
that it asks for. So a weight becomes a number of entries, and every client gets the list of one
that names no zone and no node.
(https://github.com/grpc/grpc/blob/master/doc/load-balancing.md)
"""

from lookaside.api.grpclb.door import SERVICE, GrpclbDoor, GrpclbObserver

__all__ = ["SERVICE", "GrpclbDoor", "GrpclbObserver"]
