"""Why a list that was made of slices is as it is."""

from collections.abc import Iterator

from msgspec import Struct

from lookaside.model import Explanation, Health, Locality, Verdict
from lookaside.policy.balancing import POLICIES, strange_policies
from lookaside.policy.service_config import SERVICE_CONFIG
from lookaside.policy.weights import WEIGHT, WEIGHTS, WeightRule
from lookaside.registry.annotations import Refusal, refusals
from lookaside.registry.inputs import HeldSlice, Inputs
from lookaside.registry.slices import SliceEndpoint

NO_REQUESTS = "; weight 0: no new requests"


class _Candidate(Struct, frozen=True):
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


class Reasons(Struct, frozen=True):
    """What a record was made of. A `lookaside.model.Evidence`."""

    inputs: Inputs

    def explain(self, port: str) -> Explanation:
        """Tell why the list of a port is as it is."""
        verdicts = tuple(sorted(self._verdict(one) for one in self._sort_out(port)))
        return Explanation(verdicts, tuple(self._notes(verdicts)))

    def refusals(self) -> list[Refusal]:
        """Return the annotations that are refused: the Service's, its slices' and their Pods'."""
        inputs, key = self.inputs, self.inputs.service.key
        readings = {WEIGHTS: inputs.policy.weights, SERVICE_CONFIG: inputs.policy.service_config}
        found = refusals("Service", key.namespace, key.name, readings)
        names: set[str] = set()
        for held in inputs.ranked():
            weight = {WEIGHT: held.weight}
            found += refusals("EndpointSlice", key.namespace, held.slice.name, weight)
            names.update(endpoint.pod for endpoint in held.slice.endpoints)
        for name in sorted(names & inputs.pods.keys()):
            found += refusals("Pod", key.namespace, name, {WEIGHT: inputs.pods[name].weight})
        return found

    def _sort_out(self, port: str) -> list[_Candidate]:
        """Return every endpoint of every slice with the reason why it is left out, if it is."""
        candidates = list(self._candidates(port))
        health = Health.READY
        if not any(one.endpoint.ready and not one.reason for one in candidates):
            health = Health.TERMINATING
        slice_of: dict[tuple[str, int], str] = {}
        family_of: dict[str, str] = {}
        return [
            one if one.reason else _judge(one, health, slice_of, family_of) for one in candidates
        ]

    def _candidates(self, port: str) -> Iterator[_Candidate]:
        for held in self.inputs.ranked():
            number, reason = self.inputs.number(held.slice, port)
            for endpoint in held.slice.endpoints:
                yield _Candidate(held, endpoint, number, reason)

    def _verdict(self, one: _Candidate) -> Verdict:
        endpoint, slice_ = one.endpoint, one.held.slice
        locality = Locality(endpoint.zone, endpoint.node)
        weight, origin = self.inputs.weigh(one.held, endpoint, locality)
        if isinstance(origin, WeightRule):
            origin = f"Service annotation {WEIGHTS} ({origin})"
        reason = one.reason
        if not reason:
            reason = "ready" if endpoint.ready else "terminating, serving, and no other is ready"
            reason += "" if weight else NO_REQUESTS
        return Verdict(
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

    def _notes(self, verdicts: tuple[Verdict, ...]) -> Iterator[str]:
        service, slices = self.inputs.service, self.inputs.ranked()
        if service.external_name:
            yield f"the Service is an alias of {service.external_name}: dial that by DNS"
        elif not slices:
            yield (
                "the Service has no EndpointSlices: it has no selector and nobody made any, or the "
                "controller has not come to it yet"
            )
        elif not verdicts:
            yield "its EndpointSlices have no endpoints: no Pod matches the Service's selector"
        elif not any(verdict.listed for verdict in verdicts):
            yield f"none of its {len(verdicts)} endpoints is fit to get requests"
        if not service.ports and not service.external_name:
            yield "the Service has no ports: nothing can be dialled"
        for held in slices:
            for sentence in held.slice.set_aside:
                yield f"EndpointSlice {held.slice.name}: {sentence}"
        for refusal in self.refusals():
            yield str(refusal)
        strange = strange_policies(self.inputs.policy.service_config.value or "{}")
        if strange:
            yield (
                f"annotation {SERVICE_CONFIG} names {', '.join(map(repr, strange))}: clients that "
                "have not registered such a policy refuse the config, and know "
                f"{', '.join(sorted(POLICIES))}"
            )


def _judge(
    one: _Candidate,
    health: Health,
    slice_of: dict[tuple[str, int], str],
    family_of: dict[str, str],
) -> _Candidate:
    endpoint, slice_ = one.endpoint, one.held.slice
    reason, target = _unfit(endpoint, health), (endpoint.address, one.port)
    if not reason and target in slice_of:
        first = slice_of[target]
        where = "once more in the same slice" if first == slice_.name else f"in slice {first} too"
        reason = f"stands {where}, which counts"
    if not reason:
        slice_of[target] = slice_.name
        family = family_of.setdefault(endpoint.target_uid, slice_.address_type)
        if endpoint.target_uid and family != slice_.address_type:
            reason = f"the same {endpoint.target_kind or 'target'} is listed by {family}"
    return _Candidate(one.held, endpoint, one.port, reason) if reason else one


def _unfit(endpoint: SliceEndpoint, health: Health) -> str:
    """Return why an endpoint is left out of a list of the given health, "" if it is not."""
    if endpoint.ready:
        return ""
    if not endpoint.serving:
        return "terminating and no longer serving" if endpoint.terminating else "not ready"
    if not endpoint.terminating:
        return "not ready"
    if health is Health.TERMINATING:
        return ""
    return "terminating, and others are ready"
