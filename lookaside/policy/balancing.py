"""Finds load-balancing policies in a service config that clients may not have."""

import msgspec
from msgspec import Struct

__all__ = ["POLICIES", "strange_policies"]

POLICIES = frozenset(
    {
        *("least_request", "maglev", "peak_ewma", "pick_first", "random", "ring_hash"),
        *("round_robin", "weighted_round_robin"),
    }
)
"""The policies that every client of the companion package has."""

_OF_GRPC = frozenset(
    {
        *("least_request_experimental", "ring_hash_experimental"),
        *("outlier_detection", "outlier_detection_experimental"),
        *("random_subsetting", "random_subsetting_experimental"),
    }
)
"""Other accepted names: gRPC's names of two of them, and its wrappers."""


class _Wanted(Struct, rename="camel"):
    load_balancing_policy: str = ""
    load_balancing_config: list[dict[str, object]] | None = None


def strange_policies(config: str) -> list[str]:
    """Return the policies that a service config asks for, unless one of them is known here.

    A client refuses the whole config where the user has registered none of them there.

    Args:
        config: What `parse_service_config` has returned.
    """
    wanted = msgspec.json.decode(config, type=_Wanted)
    names = [wanted.load_balancing_policy.lower()] if wanted.load_balancing_policy else []
    if wanted.load_balancing_config is not None:
        names = [name for entry in wanted.load_balancing_config for name in entry]
    return [] if (POLICIES | _OF_GRPC).intersection(names) else names
