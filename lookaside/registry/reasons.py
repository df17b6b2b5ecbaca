"""Explains a list that was made of slices."""

from collections.abc import Iterator
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from lookaside.model import EndpointExplanation, Explanation, Locality, target
from lookaside.policy.balancing import POLICIES, strange_policies
from lookaside.policy.service_config import SERVICE_CONFIG, STICKY
from lookaside.policy.weights import WEIGHT, WEIGHTS, WeightRule
from lookaside.registry.annotations import RefusedAnnotation, refused_annotations
from lookaside.registry.inputs import HeldSlice, Inputs
from lookaside.registry.slices import SliceEndpoint

NO_REQUESTS = "; weight 0: no new requests"


class _Candidate(Struct, frozen=True, gc=False):
    """An endpoint of a slice on its way into the list, or out.

    Attributes:
        held: Its slice.
        endpoint: The endpoint.
        port: The port to dial; 0 where there is none.
        reason: Why it is left out; "" if it is not.
    """

    held: HeldSlice
    endpoint: SliceEndpoint
    port: int
    reason: str = ""


class Reasons(Struct, frozen=True, gc=False):
    """Explains a record by its inputs. A `lookaside.model.Explainer`."""

    inputs: Inputs

    def explain(self, port: str, node: str = "") -> Explanation:
        """Tell why the list of a port is as it is, or the own list of a node's clients."""
        found = self._sort_out(port, node)
        endpoints = tuple(sorted(self._explained(one, node) for one in found))
        listed = [one for one in found if not one.reason]
        return Explanation(endpoints, (*self._notes(endpoints), *self._hint_notes(listed)))

    def known(self, port: str) -> frozenset[tuple[str, int]]:
        """Return the addresses of a port in slices that count, in whatever condition."""
        return frozenset(
            (one.address, number)
            for held in self.inputs.slices
            if (number := self.inputs.number(held.slice, port)[0])
            for one in held.slice.endpoints
        )

    def refusals(self) -> list[RefusedAnnotation]:
        """Return the annotations that are refused: the Service's, its slices' and their Pods'."""
        inputs, key = self.inputs, self.inputs.service.key
        readings = {WEIGHTS: inputs.policy.weights, SERVICE_CONFIG: inputs.policy.service_config}
        found = refused_annotations("Service", key.namespace, key.name, readings)
        names: set[str] = set()
        for held in inputs.ranked():
            weight = {WEIGHT: held.weight}
            found += refused_annotations("EndpointSlice", key.namespace, held.slice.name, weight)
            names.update(endpoint.pod for endpoint in held.slice.endpoints)
        for name in sorted(names & inputs.pods.keys()):
            found += refused_annotations(
                "Pod", key.namespace, name, {WEIGHT: inputs.pods[name].weight}
            )
        return found

    def _sort_out(self, port: str, node: str) -> list[_Candidate]:
        """Return every endpoint of every slice with the reason why it is left out, if it is."""
        found = _once_each_address(list(self._candidates(port)))
        if node:
            found = [_at_node(one, node) for one in found]
        ready = any(one.endpoint.ready for one in found if not one.reason)
        found = [_fit(one, others_ready=ready) for one in found]
        family_of: dict[str, str] = {}
        return [_once_each_target(one, family_of) for one in found]

    def _candidates(self, port: str) -> Iterator[_Candidate]:
        for held in self.inputs.ranked():
            number, reason = self.inputs.number(held.slice, port)
            for endpoint in held.slice.endpoints:
                yield _Candidate(held, endpoint, number, reason)

    def _explained(self, one: _Candidate, node: str) -> EndpointExplanation:
        endpoint, slice_ = one.endpoint, one.held.slice
        locality = Locality(endpoint.zone, endpoint.node)
        weight, origin = self.inputs.weigh(one.held, endpoint, locality)
        if isinstance(origin, WeightRule):
            origin = f"Service annotation {WEIGHTS} ({origin})"
        reason = one.reason
        if not reason:
            reason = "ready"
            if not endpoint.ready:
                where = f" on node {node}" if node else ""
                reason = f"terminating, serving, and no other{where} is ready"
            reason += "" if weight else NO_REQUESTS
        return EndpointExplanation(
            address=endpoint.address,
            port=one.port,
            slice=slice_.name,
            listed=not one.reason,
            reason=reason,
            resource_version=slice_.resource_version,
            weight=weight,
            weight_origin=origin,
            target=" ".join(filter(None, (endpoint.target_kind, endpoint.target_name))),
            locality=locality,
        )

    def _notes(self, endpoints: tuple[EndpointExplanation, ...]) -> Iterator[str]:
        service, slices = self.inputs.service, self.inputs.ranked()
        if service.external_name:
            yield f"the Service is an alias of {service.external_name}: dial that by DNS"
        elif not slices:
            yield (
                "the Service has no EndpointSlices: it has no selector and nobody made any, or the "
                "controller has not come to it yet"
            )
        elif not endpoints:
            yield "its EndpointSlices have no endpoints: no Pod matches the Service's selector"
        elif not any(endpoint.listed for endpoint in endpoints):
            yield f"none of its {len(endpoints)} endpoints is fit to get requests"
        if not service.ports and not service.external_name:
            yield "the Service has no ports: nothing can be dialled"
        for held in slices:
            for sentence in held.slice.set_aside:
                yield f"EndpointSlice {held.slice.name}: {sentence}"
        for refusal in self.refusals():
            yield str(refusal)
        yield from self._config_notes()

    def _hint_notes(self, listed: list[_Candidate]) -> Iterator[str]:
        """Say why topology hints count for no client, by the rules of `merge`."""
        kinds = {
            "zone": [one for one in listed if not one.endpoint.hints.zones],
            "node": [one for one in listed if not one.endpoint.hints.nodes],
        }
        ready = all(one.endpoint.ready for one in listed)
        for kind, lacking in kinds.items():
            because = ""
            if self.inputs.service.local:
                because = "the Service's internalTrafficPolicy is Local"
            elif not ready:
                because = "no endpoint is ready"
            elif lacking:
                first = min(target(one.endpoint.address, one.port) for one in lacking)
                because = f"{len(lacking)} of {len(listed)} endpoints have none, {first} for one"
            if because and len(lacking) < len(listed):
                yield f"hints for {kind}s are set aside: {because}"

    def _config_notes(self) -> Iterator[str]:
        own = self.inputs.policy.service_config.value
        if self.inputs.service.sticky and own is None:
            yield f"the Service's sessionAffinity is ClientIP, so clients receive {STICKY}"
        elif self.inputs.service.sticky:
            yield (
                "the Service's sessionAffinity is ClientIP, but clients receive the "
                f"annotation {SERVICE_CONFIG}"
            )
        strange = strange_policies(own or "{}")
        if strange:
            yield (
                f"annotation {SERVICE_CONFIG} names {', '.join(map(repr, strange))}: clients that "
                "have not registered such a policy refuse the config, and know "
                f"{', '.join(sorted(POLICIES))}"
            )


def _once_each_address(ranked: list[_Candidate]) -> list[_Candidate]:
    """Leave out all endpoints of an address but the one that counts, as in `contributions`."""
    counts: dict[tuple[str, int], _Candidate] = {}
    fit = [one for one in ranked if not one.reason]
    fit.sort(key=lambda one: one.held.slice.name, reverse=True)
    for _, of_slice in groupby(fit, key=lambda one: one.held.slice.name):
        own: dict[tuple[str, int], _Candidate] = {}
        for one in of_slice:
            target = (one.endpoint.address, one.port)
            if target not in own or not one.endpoint.terminating:
                own[target] = one
        for target, one in own.items():
            other = counts.get(target)
            keeps = other is not None and _stays(other) and not _stays(one)
            if other is None or not (one.endpoint.terminating or keeps):
                counts[target] = one

    def judged(one: _Candidate) -> _Candidate:
        if one.reason or (first := counts[one.endpoint.address, one.port]) is one:
            return one
        same = first.held is one.held
        where = "another entry of its slice" if same else f"slice {first.held.slice.name}"
        return replace(one, reason=f"duplicate, listed from {where}")

    return [judged(one) for one in ranked]


def _stays(one: _Candidate) -> bool:
    return one.endpoint.ready and not one.endpoint.terminating


def _at_node(one: _Candidate, node: str) -> _Candidate:
    if one.reason or one.endpoint.node == node:
        return one
    where = f"is on node {one.endpoint.node}" if one.endpoint.node else "has no node"
    reason = f"{where}; the client is on {node}, and internalTrafficPolicy is Local"
    return replace(one, reason=reason)


def _fit(one: _Candidate, *, others_ready: bool) -> _Candidate:
    endpoint = one.endpoint
    if one.reason or endpoint.ready:
        return one
    reason = "not ready"
    if endpoint.terminating:
        reason = "terminating and no longer serving"
        if endpoint.serving:
            reason = "terminating, and others are ready" if others_ready else ""
    return replace(one, reason=reason)


def _once_each_target(one: _Candidate, family_of: dict[str, str]) -> _Candidate:
    """Leave out the other addresses of what is listed by one of the family before."""
    endpoint, family = one.endpoint, one.held.slice.address_type
    if one.reason or not endpoint.target_uid:
        return one
    first = family_of.setdefault(endpoint.target_uid, family)
    if first == family:
        return one
    reason = f"the same {endpoint.target_kind or 'target'} is listed by {first}"
    return replace(one, reason=reason)
