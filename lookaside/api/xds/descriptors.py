"""The files of all that the door speaks, for reflection."""

from lookaside._pb.xds import (
    client_side_weighted_round_robin_pb2,
    cluster_pb2,
    discovery_pb2,
    endpoint_pb2,
    http_connection_manager_pb2,
    http_protocol_options_pb2,
    least_request_pb2,
    listener_pb2,
    pick_first_pb2,
    ring_hash_pb2,
    round_robin_pb2,
    route_pb2,
    router_pb2,
    wrr_locality_pb2,
)

FILES = [
    discovery_pb2.DESCRIPTOR,
    *(
        module.DESCRIPTOR
        for module in (
            cluster_pb2,
            endpoint_pb2,
            listener_pb2,
            route_pb2,
            http_connection_manager_pb2,
            http_protocol_options_pb2,
            router_pb2,
            wrr_locality_pb2,
            round_robin_pb2,
            least_request_pb2,
            ring_hash_pb2,
            pick_first_pb2,
            client_side_weighted_round_robin_pb2,
        )
    ),
]
"""The service, and all that its messages carry without importing it."""
