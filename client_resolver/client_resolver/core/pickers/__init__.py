"""The load-balancing policies, one a module, and their registry by service-config name."""

from collections.abc import Mapping
from types import MappingProxyType

from client_resolver.core.picker import Policy, PolicyFactory
from client_resolver.core.pickers.least_request import LeastRequest
from client_resolver.core.pickers.maglev import Maglev
from client_resolver.core.pickers.peak_ewma import PeakEwma
from client_resolver.core.pickers.pick_first import PickFirst
from client_resolver.core.pickers.ring_hash import RingHash
from client_resolver.core.pickers.round_robin import RoundRobin
from client_resolver.core.pickers.weighted_random import WeightedRandom
from client_resolver.core.pickers.weighted_round_robin import WeightedRoundRobin

__all__ = ["DEFAULT_POLICY", "POLICIES", "known_policies", "policy_named"]

POLICIES: Mapping[str, PolicyFactory] = MappingProxyType(
    {
        LeastRequest.name: LeastRequest.from_config,
        Maglev.name: Maglev.from_config,
        PeakEwma.name: PeakEwma.from_config,
        PickFirst.name: PickFirst.from_config,
        WeightedRandom.name: WeightedRandom.from_config,
        RingHash.name: RingHash.from_config,
        RoundRobin.name: RoundRobin.from_config,
        WeightedRoundRobin.name: WeightedRoundRobin.from_config,
    }
)
"""Makes each policy of this package from its config, by the policy's name."""

_EXPERIMENTAL = MappingProxyType(
    {f"{name}_experimental": POLICIES[name] for name in ("least_request", "ring_hash")}
)
"""The names that gRPC gives to two of them."""

DEFAULT_POLICY: Policy = WeightedRoundRobin()
"""The policy of a channel whose service config names none."""


def known_policies(extra: Mapping[str, PolicyFactory] | None = None) -> Mapping[str, PolicyFactory]:
    """Return everything that `policy_named` knows, the user's own first of a name.

    Args:
        extra: The user's own policies.
    """
    return {**_EXPERIMENTAL, **POLICIES, **(extra or {})}


def policy_named(
    name: str,
    config: Mapping[str, object] | None = None,
    extra: Mapping[str, PolicyFactory] | None = None,
) -> Policy:
    """Make a policy.

    Args:
        name: Its name in a service config.
        config: Its config. Fields that the policy doesn't know are ignored, as gRPC does.
        extra: The user's own policies, which come before those of this package.

    Raises:
        ValueError: No policy of that name is known, or its config can't be used.
    """
    known = known_policies(extra)
    factory = known.get(name)
    if factory is None:
        shown = ", ".join(sorted(POLICIES.keys() | (extra or {}).keys()))
        raise ValueError(f"no load-balancing policy {name!r} is known. Known: {shown}")
    return factory(config or {})
