"""Selects the load-balancing policy from a service config or a channel's arguments."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from client_resolver.config.config_fields import MAX_TABLE_SIZE
from client_resolver.config.config_fields import POLICIES as POLICY_FIELDS
from client_resolver.core import fields
from client_resolver.core.outlier import OutlierDetection
from client_resolver.core.picker import Policy, PolicyFactory
from client_resolver.core.pickers import DEFAULT_POLICY, POLICIES, known_policies
from client_resolver.core.pickers.maglev import Maglev
from client_resolver.core.pickers.ring_hash import RingHash

__all__ = ["Balancing", "PolicyLike", "choose_policy"]

_logger = logging.getLogger("client_resolver")

PolicyLike: TypeAlias = str | Mapping[str, object]
"""A policy's name, or an object with its name as the one field and its settings in it."""

_OUTLIER_DETECTION = ("outlier_detection_experimental", "outlier_detection")
_SUBSETTING = ("random_subsetting_experimental", "random_subsetting")
_WRAPPERS = frozenset({*_OUTLIER_DETECTION, *_SUBSETTING})


@dataclass(frozen=True, slots=True)
class Balancing:
    """A policy, and what the policies of gRPC's that were wrapped around it ask for.

    Attributes:
        policy: The policy.
        outlier: From `outlier_detection_experimental` (gRFC A50). None: there was none.
        subset_size: From `random_subsetting_experimental` (gRFC A68). None: there was none.
    """

    policy: Policy
    outlier: OutlierDetection | None = None
    subset_size: int | None = None


def choose_policy(
    config: Mapping[str, object],
    policy: PolicyLike | None,
    policy_name: str | None,
    policies: Mapping[str, PolicyFactory],
    max_table_size: int = MAX_TABLE_SIZE,
) -> Balancing:
    """Find the policy that holds.

    `policy` takes precedence over the first known policy of `loadBalancingConfig`; then
    comes `loadBalancingPolicy`, then `policy_name`, then the default. The wrappers around the
    policy in `loadBalancingConfig` hold in any case.

    Args:
        config: The service config.
        policy: The channel's argument of this name.
        policy_name: The channel argument `grpc.lb_policy_name`.
        policies: The user's own, by name. They go before those of this package.
        max_table_size: How many entries a ring or table has at most.

    Raises:
        ValueError: There is no such policy, or its settings are malformed.
    """
    known = {
        name: factory if name in policies else _capped(name, factory, max_table_size)
        for name, factory in known_policies(policies).items()
    }
    chosen = None
    if policy is not None:
        entry = {policy: {}} if isinstance(policy, str) else policy
        chosen = _unwrap("policy", [entry], known, None)
    entries = fields.listed(config, "loadBalancingConfig", None)
    if entries is not None:
        return _unwrap("loadBalancingConfig", entries, known, chosen)
    if chosen is not None:
        return chosen
    where, named = "loadBalancingPolicy", fields.text(config, "loadBalancingPolicy", "")
    if not named:
        where, named = "grpc.lb_policy_name", policy_name or ""
    if not named:
        return Balancing(DEFAULT_POLICY)
    # The enum form of the field was upper case.
    name = named if named in known else named.lower()
    return _unwrap(where, [{name: {}}], known, None)


def _unwrap(
    where: str,
    entries: list[object],
    known: Mapping[str, PolicyFactory],
    instead: Balancing | None,
) -> Balancing:
    """Take the first entry that is known. `instead` takes the place of the innermost policy."""
    names: list[str] = []
    for entry in entries:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise ValueError(f"{where} has {entry!r}: an object with one policy's name is wanted")
        (name,) = entry
        names.append(name)
        with fields.inside(where):
            settings = fields.object_in(entry, name) or {}
        inside = f"{where}.{name}"
        if name in _WRAPPERS and name not in known:
            with fields.inside(inside):
                children = fields.listed(settings, "childPolicy", [])
            child = _unwrap(f"{inside}.childPolicy", children, known, instead)
            with fields.inside(inside):
                return _wrapped(name, settings, child)
        if name in known:
            return instead or Balancing(_build(inside, known[name], settings))
    if instead is not None:
        return instead
    # The second names of some policies are left out.
    listed = [name for name in known if name.removesuffix("_experimental") not in POLICIES]
    wanted = ", ".join(sorted({*listed, *POLICIES, *_WRAPPERS}))
    what = (
        f"names {', '.join(map(repr, names))}: no such policy is known" if names else "names none"
    )
    raise ValueError(f"{where} {what}. Known: {wanted}")


def _capped(name: str, factory: PolicyFactory, most: int) -> PolicyFactory:
    """Cut the sizes of the rings and tables that a policy of this package builds."""
    sizes = [field for field, about in POLICY_FIELDS[name].items() if about.table]

    def make(settings: Mapping[str, object]) -> Policy:
        policy = factory(settings)
        if not isinstance(policy, RingHash | Maglev):
            return policy
        for field in sizes:
            size = fields.whole(settings, field, 0)
            if size > most:
                text = "service config: %s.%s is %d, more than the channel's max_table_size, %d"
                _logger.warning(text, name, field, size, most)
        return policy.capped(most)

    return make if sizes else factory


def _wrapped(name: str, settings: Mapping[str, object], child: Balancing) -> Balancing:
    if name in _OUTLIER_DETECTION:
        return replace(child, outlier=OutlierDetection.parse(settings))
    fields.required(settings, "subsetSize")
    return replace(child, subset_size=fields.whole(settings, "subsetSize", 1, low=1))


def _build(where: str, factory: PolicyFactory, settings: Mapping[str, object]) -> Policy:
    with fields.inside(where):
        try:
            policy: object = factory(settings)
        except (TypeError, LookupError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
    if not isinstance(policy, Policy):
        text = f"its factory made {policy!r}, which is no policy: see BasePolicy"
        raise ValueError(f"{where}: {text}")  # noqa: TRY004 (a config can't be used)
    return policy
