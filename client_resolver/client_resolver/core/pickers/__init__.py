"""The load-balancing policies, one a module, and their registry by service-config name."""

from collections.abc import Mapping
from types import MappingProxyType

from client_resolver.core.picker import Policy
from client_resolver.core.pickers.round_robin import RoundRobin
from client_resolver.core.pickers.weighted_round_robin import WeightedRoundRobin

__all__ = ["DEFAULT_POLICY", "POLICIES", "Policy"]

POLICIES: Mapping[str, Policy] = MappingProxyType(
    {policy.name: policy for policy in (RoundRobin(), WeightedRoundRobin())}
)
"""Every known policy by the name that a service config gives it."""

DEFAULT_POLICY: Policy = POLICIES["weighted_round_robin"]
"""The policy of a channel whose service config names none."""
