"""The Services, EndpointSlices and Pods of a cluster, and which services a change touches."""

from collections.abc import Iterable, Mapping

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.policy.service_config import SERVICE_CONFIG
from lookaside.policy.weights import WEIGHT, WEIGHTS, parse_weight
from lookaside.registry.annotations import (
    Reading,
    RefusedAnnotation,
    ServicePolicy,
    read,
    refused_annotations,
    service_policy,
)
from lookaside.registry.inputs import HeldPod, HeldSlice, Inputs, MergeOptions
from lookaside.registry.merge import Memory, merging
from lookaside.registry.slices import Pod, Service, Slice
from lookaside.registry.steps import Steps, finish

Name = tuple[str, str]

LARGE = 500
"""Endpoints from which on it pays to keep what slices give.

That costs about 200 bytes for each endpoint, permanently; to rebuild a smaller list costs few
milliseconds.
"""

_SHOWN = 3


class Cluster:
    """An index of slices by service, kept by slice name.

    A service's endpoints are always the union of the slices held at that moment: a Pod that has
    moved to another slice survives the update of the one it left.

    Args:
        options: How endpoints are made.
        pods: Whether Pods are known; only then the slices of each Pod are indexed.
        large: For services with more endpoints, the contribution of each slice is kept.
    """

    def __init__(
        self, options: MergeOptions | None = None, *, pods: bool = False, large: int = LARGE
    ) -> None:
        self._options = options or MergeOptions()
        self._large = large
        self._watches_pods = pods
        self._services: dict[ServiceKey, tuple[Service, ServicePolicy]] = {}
        self._slices: dict[ServiceKey, dict[str, HeldSlice]] = {}
        self._owners: dict[Name, ServiceKey] = {}
        self._pods: dict[str, dict[str, HeldPod]] = {}
        self._standings: dict[Name, set[str]] = {}
        self._memories: dict[ServiceKey, Memory] = {}
        self._touched: set[ServiceKey] = set()
        self._refused: dict[RefusedAnnotation, None] = {}

    def set_service(self, service: Service) -> None:
        """Add a Service or replace its older version."""
        before = self._services.get(service.key)
        if before is not None and before[0] == service:
            return
        policy = service_policy(
            service.weights, service.service_config, before[1] if before else None
        )
        self._services[service.key] = (service, policy)
        self._memories.pop(service.key, None)
        self._touched.add(service.key)
        readings = {WEIGHTS: policy.weights, SERVICE_CONFIG: policy.service_config}
        self._refuse("Service", (service.key.namespace, service.key.name), readings)

    def remove_service(self, key: ServiceKey) -> None:
        """Take a Service away. Its slices are kept: they may be seen to go later, or to stay."""
        if self._services.pop(key, None) is not None:
            self._memories.pop(key, None)
            self._touched.add(key)

    def set_slice(self, slice_: Slice) -> None:
        """Add a slice or replace its older version, even if that was of another service."""
        name = (slice_.service.namespace, slice_.name)
        owner = self._owners.get(name)
        before = self._slices[owner][slice_.name] if owner is not None else None
        if before is not None and before.slice == slice_:
            return
        if owner != slice_.service:
            self.remove_slice(*name)
        weight = read(slice_.weight, parse_weight, before.weight if before else None)
        self._slices.setdefault(slice_.service, {})[slice_.name] = HeldSlice(slice_, weight)
        self._owners[name] = slice_.service
        self._touch(name)
        self._stand(name, before.slice if before and owner == slice_.service else None, slice_)
        self._refuse("EndpointSlice", name, {WEIGHT: weight})

    def remove_slice(self, namespace: str, name: str) -> None:
        """Take a slice away; one that is not known is none."""
        owner = self._owners.get((namespace, name))
        if owner is None:
            return
        self._touch((namespace, name))
        del self._owners[namespace, name]
        slices = self._slices[owner]
        self._stand((namespace, name), slices.pop(name).slice, None)
        if not slices:
            del self._slices[owner]

    def set_pod(self, pod: Pod) -> None:
        """Add a Pod or replace its older version."""
        pods = self._pods.setdefault(pod.namespace, {})
        before = pods.get(pod.name)
        if before is not None and before.pod == pod:
            return
        same = before if before is not None and before.pod.uid == pod.uid else None
        weight = read(pod.weight, parse_weight, same.weight if same else None)
        pods[pod.name] = HeldPod(pod, weight)
        name = (pod.namespace, pod.name)
        self._touch_slices_of(name)
        self._refuse("Pod", name, {WEIGHT: weight})

    def remove_pod(self, namespace: str, name: str) -> None:
        """Take a Pod away; one that is not known is none."""
        pods = self._pods.get(namespace, {})
        if pods.pop(name, None) is not None:
            self._touch_slices_of((namespace, name))

    def replace_services(self, services: Iterable[Service]) -> None:
        """Replace all Services with a complete list."""
        gone = set(self._services)
        for service in services:
            gone.discard(service.key)
            self.set_service(service)
        for key in gone:
            self.remove_service(key)

    def replace_slices(self, slices: Iterable[Slice]) -> None:
        """Replace all slices with a complete list."""
        gone = set(self._owners)
        for slice_ in slices:
            gone.discard((slice_.service.namespace, slice_.name))
            self.set_slice(slice_)
        for name in gone:
            self.remove_slice(*name)

    def replace_pods(self, pods: Iterable[Pod]) -> None:
        """Replace all Pods with a complete list."""
        gone = {(namespace, name) for namespace, held in self._pods.items() for name in held}
        for pod in pods:
            gone.discard((pod.namespace, pod.name))
            self.set_pod(pod)
        for name in gone:
            self.remove_pod(*name)

    def touched(self) -> dict[ServiceKey, ServiceRecord | None]:
        """Return the services that changed since the last call, None for one that is gone."""
        return {key: finish(self.recording(key)) for key in sorted(self.take_touched())}

    def take_touched(self) -> set[ServiceKey]:
        """Return which services changed since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def services(self) -> list[ServiceKey]:
        """Return the Services that there are."""
        return list(self._services)

    def records(self) -> list[ServiceRecord]:
        """Return every service. None of them has changed since, to the next call of `touched`."""
        self._touched.clear()
        found = [finish(self.recording(key)) for key in self._services]
        return [record for record in found if record is not None]

    def is_large(self, key: ServiceKey) -> bool:
        """Whether a service is large: the contributions of its slices are kept."""
        slices = self._slices.get(key, {}).values()
        return sum(len(held.slice.endpoints) for held in slices) > self._large

    def recording(self, key: ServiceKey) -> Steps[ServiceRecord | None]:
        """Return a service as it is when this begins, in steps; None for one that is gone."""
        if key not in self._services:
            return None
        service, policy = self._services[key]
        slices = tuple(self._slices.get(key, {}).values())
        pods = self._pods.get(key.namespace, {})
        inputs = Inputs(service, policy, slices, pods, self._options)
        if self.is_large(key):
            return (yield from merging(inputs, self._memories.setdefault(key, Memory())))
        self._memories.pop(key, None)
        return (yield from merging(inputs))

    def absence(self, key: ServiceKey) -> str:
        """Return which slices name a Service that isn't there, in words; "" if none does."""
        slices = self._slices.get(key)
        if not slices or key in self._services:
            return ""
        shown = ", ".join(sorted(slices)[:_SHOWN])
        more = f" and {len(slices) - _SHOWN} more" if len(slices) > _SHOWN else ""
        one = len(slices) == 1
        return (
            f"EndpointSlice{'' if one else 's'} {shown}{more} name{'s' if one else ''} it, but "
            "there is no such Service"
        )

    def refused(self) -> list[RefusedAnnotation]:
        """Return the annotations that were refused since the last call."""
        refused, self._refused = self._refused, {}
        return list(refused)

    def _touch(self, name: Name) -> None:
        owner = self._owners[name]
        self._touched.add(owner)
        if owner in self._memories:
            self._memories[owner].touched.add(name[1])

    def _touch_slices_of(self, pod: Name) -> None:
        for slice_ in self._standings.get(pod, ()):
            self._touch((pod[0], slice_))

    def _refuse(self, kind: str, name: Name, readings: Mapping[str, Reading[object]]) -> None:
        self._refused.update(dict.fromkeys(refused_annotations(kind, *name, readings)))

    def _stand(self, name: Name, before: Slice | None, after: Slice | None) -> None:
        """Index the slices of each Pod."""
        if not self._watches_pods:
            return
        namespace, slice_ = name
        old, new = _pods(before), _pods(after)
        for pod in old - new:
            slices = self._standings[namespace, pod]
            slices.remove(slice_)
            if not slices:
                del self._standings[namespace, pod]
        for pod in new - old:
            self._standings.setdefault((namespace, pod), set()).add(slice_)


def _pods(slice_: Slice | None) -> set[str]:
    return {one.pod for one in slice_.endpoints if one.pod} if slice_ is not None else set()
