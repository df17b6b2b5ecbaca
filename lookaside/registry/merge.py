"""From the EndpointSlices of a Service to its endpoints, by kube-proxy's rules, and why.

The rules are those of ``pkg/proxy/topology.go`` and ``pkg/proxy/endpointslicecache.go`` in
kubernetes/kubernetes: ready endpoints, or, where there are none, those that are terminating and
still serve. Hints belong to ready endpoints alone.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from lookaside.model import (
    Endpoint,
    Explanation,
    Health,
    Hints,
    Locality,
    ServiceRecord,
    Verdict,
)
from lookaside.policy.service_config import SERVICE_CONFIG
from lookaside.policy.weights import WEIGHT, WEIGHTS
from lookaside.registry.annotations import Reading, Refusal, ServicePolicy, refusals, weigh
from lookaside.registry.slices import Pod, Service, Slice, SliceEndpoint

Family = Literal["IPv4", "IPv6"]


class HeldSlice(Struct, frozen=True):
    """A slice and what its weight annotation says."""

    slice: Slice
    weight: Reading[int] = Reading()


class HeldPod(Struct, frozen=True):
    """A Pod and what its weight annotation says."""

    pod: Pod
    weight: Reading[int] = Reading()


class MergeOptions(Struct, frozen=True):
    """How endpoints are made.

    Attributes:
        family: The family of the address that stands for a Pod with one of each.
        labels: The labels of Pods that are passed on as metadata.
    """

    family: Family = "IPv4"
    labels: tuple[str, ...] = ()


class _Candidate(Struct, frozen=True):
    """An endpoint of a slice on its way into the list, or out.

    Attributes:
        held: Its slice.
        endpoint: The endpoint.
        port: The port to dial; 0 where its slice has no such port.
        reason: Why it is left out; "" if it is not.
    """

    held: HeldSlice
    endpoint: SliceEndpoint
    port: int
    reason: str = ""


class Inputs(Struct, frozen=True):
    """All that a service's endpoints are made of. An `Evidence` of the record made of it.

    Attributes:
        service: The Service.
        policy: What its annotations say.
        slices: Its slices, in any order.
        pods: The Pods of its namespace that are known, by name.
        options: How endpoints are made.
    """

    service: Service
    policy: ServicePolicy = ServicePolicy()
    slices: tuple[HeldSlice, ...] = ()
    pods: Mapping[str, HeldPod] = {}
    options: MergeOptions = MergeOptions()

    def merge(self) -> ServiceRecord:
        """Return what the slices say of the service, the same for every order of the slices.

        A Pod that stands in two slices, as while the controller moves it, is one endpoint; so is a
        Pod with an address in each family.
        """
        endpoints = {}
        hints = {}
        for port in self.service.ports:
            health, candidates = self._sort_out(port.name)
            listed = sorted(
                (self._endpoint(one, health), one.endpoint.hints)
                for one in candidates
                if not one.reason
            )
            endpoints[port.name] = tuple(endpoint for endpoint, _ in listed)
            if health is Health.READY and any(hint != Hints() for _, hint in listed):
                hints[port.name] = tuple(hint for _, hint in listed)
        return ServiceRecord(
            key=self.service.key,
            ports=self.service.ports,
            endpoints=endpoints,
            external_name=self.service.external_name,
            hints=hints,
            service_config=self.policy.service_config.value or "",
            evidence=self,
        )

    def explain(self, port: str) -> Explanation:
        """Tell why the list of a port is as it is."""
        _, candidates = self._sort_out(port)
        verdicts = tuple(sorted(self._verdict(one) for one in candidates))
        return Explanation(verdicts, tuple(self._notes(verdicts)))

    def _sort_out(self, port: str) -> tuple[Health, list[_Candidate]]:
        """Return every endpoint of every slice with the reason why it is left out, if it is."""
        candidates = list(self._candidates(port))
        health = Health.READY
        if not any(one.endpoint.ready and not one.reason for one in candidates):
            health = Health.TERMINATING
        family_of: dict[str, str] = {}
        slice_of: dict[tuple[str, int], str] = {}
        return health, [
            one if one.reason else self._judge(one, health, family_of, slice_of)
            for one in candidates
        ]

    def _candidates(self, port: str) -> Iterator[_Candidate]:
        for held in sorted(self.slices, key=self._rank):
            slice_ = held.slice
            number = next((one.number for one in slice_.ports if one.name == port), 0)
            reason = ""
            if slice_.address_type == "FQDN":
                reason = "its slice is of the deprecated type FQDN"
            elif not number:
                reason = (
                    f"its slice has no port named {port!r}" if port else "its slice has no port"
                )
            for endpoint in slice_.endpoints:
                yield _Candidate(held, endpoint, number, reason)

    def _rank(self, held: HeldSlice) -> tuple[bool, str]:
        return held.slice.address_type != self.options.family, held.slice.name

    def _judge(
        self,
        one: _Candidate,
        health: Health,
        family_of: dict[str, str],
        slice_of: dict[tuple[str, int], str],
    ) -> _Candidate:
        endpoint, slice_ = one.endpoint, one.held.slice
        reason = _unfit(endpoint, health)
        if not reason and endpoint.target_uid:
            family = family_of.setdefault(endpoint.target_uid, slice_.address_type)
            if family != slice_.address_type:
                reason = f"the same {endpoint.target_kind or 'target'} is listed by {family}"
        if not reason:
            first = slice_of.setdefault((endpoint.address, one.port), slice_.name)
            if first != slice_.name:
                reason = f"stands in slice {first} too, which counts"
        return _Candidate(one.held, endpoint, one.port, reason) if reason else one

    def _endpoint(self, one: _Candidate, health: Health) -> Endpoint:
        locality = Locality(one.endpoint.zone, one.endpoint.node)
        return Endpoint(
            address=one.endpoint.address,
            port=one.port,
            weight=self._weigh(one, locality)[0],
            health=health,
            locality=locality,
            metadata=self._metadata(one.endpoint),
        )

    def _weigh(self, one: _Candidate, locality: Locality) -> tuple[int, str]:
        held = self.pods.get(one.endpoint.pod)
        return weigh(
            held.weight if held else Reading(),
            self.policy.weights.value or (),
            one.held.weight,
            locality,
            held.pod.labels if held else {},
        )

    def _metadata(self, endpoint: SliceEndpoint) -> tuple[tuple[str, str], ...]:
        pod = self.pods.get(endpoint.pod) if self.options.labels else None
        labels = pod.pod.labels if pod else {}
        known = {name: labels[name] for name in self.options.labels if name in labels}
        known |= {
            "hostname": endpoint.hostname,
            "node": endpoint.node,
            "pod": endpoint.pod,
            "zone": endpoint.zone,
        }
        return tuple(sorted((name, value) for name, value in known.items() if value))

    def _verdict(self, one: _Candidate) -> Verdict:
        endpoint, slice_ = one.endpoint, one.held.slice
        locality = Locality(endpoint.zone, endpoint.node)
        weight, origin = self._weigh(one, locality)
        reason = one.reason
        if not reason:
            reason = "ready" if endpoint.ready else "terminating, serving, and no other is ready"
            reason += "; weight 0: no new requests" if not weight else ""
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
        if self.service.external_name:
            yield f"the Service is an alias of {self.service.external_name}: dial that by DNS"
        elif not self.slices:
            yield (
                "the Service has no EndpointSlices: it has no selector and nobody made any, or the "
                "controller has not come to it yet"
            )
        elif not verdicts:
            yield "its EndpointSlices have no endpoints: no Pod matches the Service's selector"
        elif not any(verdict.listed for verdict in verdicts):
            yield f"none of its {len(verdicts)} endpoints is fit to get requests"
        if not self.service.ports and not self.service.external_name:
            yield "the Service has no ports: nothing can be dialled"
        for held in self.slices:
            for sentence in held.slice.set_aside:
                yield f"EndpointSlice {held.slice.name}: {sentence}"
        for refusal in self.refusals():
            yield str(refusal)

    def refusals(self) -> list[Refusal]:
        """Return the annotations that are refused: the Service's, its slices' and their Pods'."""
        namespace = self.service.key.namespace
        found = refusals(
            "Service",
            namespace,
            self.service.key.name,
            {WEIGHTS: self.policy.weights, SERVICE_CONFIG: self.policy.service_config},
        )
        for held in self.slices:
            found += refusals("EndpointSlice", namespace, held.slice.name, {WEIGHT: held.weight})
        names = {endpoint.pod for held in self.slices for endpoint in held.slice.endpoints}
        for name in sorted(names & self.pods.keys()):
            found += refusals("Pod", namespace, name, {WEIGHT: self.pods[name].weight})
        return found


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
