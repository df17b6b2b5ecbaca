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
from lookaside.registry.steps import CHUNK, Steps, finish, portions

Name = tuple[str, str]

_Changes = dict[ServiceKey, dict[Name, HeldSlice | None]]
"""By service, the slices that change, as they are to be held; None: no longer."""

LARGE = 500
"""Endpoints from which on it pays to keep what slices give.

That costs about 200 bytes for each endpoint, permanently; to rebuild a smaller list costs few
milliseconds.
"""

_SHOWN = 3

_SERVICES = 50
"""Services that one step takes: each may have annotations to be read."""


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
        if before is not None and (before[0] is service or before[0] == service):
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
        before = self._held(name)
        if before is not None and _same(before.slice, slice_):
            return
        held = self._read(slice_, before)
        self._stand(name, self._pods_in(slice_))
        self._put(held)
        if before is not None:
            self._leave(name, self._pods_in(before.slice) - self._pods_in(slice_))

    def remove_slice(self, namespace: str, name: str) -> None:
        """Take a slice away; one that is not known is none."""
        before = self._held((namespace, name))
        if before is not None:
            self._drop((namespace, name))
            self._leave((namespace, name), self._pods_in(before.slice))

    def set_pod(self, pod: Pod) -> None:
        """Add a Pod or replace its older version."""
        pods = self._pods.setdefault(pod.namespace, {})
        before = pods.get(pod.name)
        if before is not None and (before.pod is pod or before.pod == pod):
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
        finish(self.replacing_services(services))

    def replace_slices(self, slices: Iterable[Slice]) -> None:
        """Replace all slices with a complete list."""
        finish(self.replacing_slices(slices))

    def replace_pods(self, pods: Iterable[Pod]) -> None:
        """Replace all Pods with a complete list."""
        finish(self.replacing_pods(pods))

    def replacing_services(
        self, services: Iterable[Service], namespace: str | None = None
    ) -> Steps[None]:
        """Replace Services with a complete list, in steps.

        Args:
            services: The Services, which must not change meanwhile.
            namespace: The namespace that the list is of; None: all.
        """
        listed: set[ServiceKey] = set()
        for some in portions(services, _SERVICES):
            for service in some:
                listed.add(service.key)
                self.set_service(service)
            yield 0
        for keys in portions(list(self._services)):
            for key in keys:
                if key not in listed and namespace in (None, key.namespace):
                    self.remove_service(key)
            yield 0

    def replacing_slices(
        self, slices: Iterable[Slice], namespace: str | None = None
    ) -> Steps[None]:
        """Replace slices with a complete list, in steps.

        All slices of a service change in the same step: between two of them, an endpoint that has
        moved from one to the other would be in neither.

        Args:
            slices: The slices, which must not change meanwhile.
            namespace: The namespace that the list is of; None: all.
        """
        listed: set[Name] = set()
        changes: _Changes = {}
        gone: dict[Name, Slice] = {}
        for some in portions(slices):
            listed.update((one.service.namespace, one.name) for one in some)
            yield from self._comparing(some, changes, gone)
        for names in portions(list(self._owners)):
            for name in names:
                if name not in listed and namespace in (None, name[0]):
                    gone[name] = self._slices[self._owners[name]][name[1]].slice
                    changes.setdefault(gone[name].service, {})[name] = None
            yield 0
        yield from self._putting(changes)
        yield from self._leaving(gone)

    def replacing_pods(self, pods: Iterable[Pod], namespace: str | None = None) -> Steps[None]:
        """Replace Pods with a complete list, in steps.

        Args:
            pods: The Pods, which must not change meanwhile.
            namespace: The namespace that the list is of; None: all.
        """
        listed: set[Name] = set()
        for some in portions(pods):
            for pod in some:
                listed.add((pod.namespace, pod.name))
                self.set_pod(pod)
            yield 0
        for space in list(self._pods) if namespace is None else [namespace]:
            for names in portions(list(self._pods.get(space, ()))):
                for name in names:
                    if (space, name) not in listed:
                        self.remove_pod(space, name)
                yield 0

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
            # While a list is taken, a slice may be indexed before it is put.
            if (pod[0], slice_) in self._owners:
                self._touch((pod[0], slice_))

    def _refuse(self, kind: str, name: Name, readings: Mapping[str, Reading[object]]) -> None:
        self._refused.update(dict.fromkeys(refused_annotations(kind, *name, readings)))

    def _comparing(
        self, slices: Iterable[Slice], changes: _Changes, gone: dict[Name, Slice]
    ) -> Steps[None]:
        """Collect the slices that differ from those held, and what they replace."""
        pods = 0
        for slice_ in slices:
            name = (slice_.service.namespace, slice_.name)
            before = self._held(name)
            if before is not None:
                if _same(before.slice, slice_):
                    continue
                gone[name] = before.slice
                changes.setdefault(before.slice.service, {})[name] = None
            changes.setdefault(slice_.service, {})[name] = self._read(slice_, before)
            # A Pod may touch too many slices for a while, but never too few.
            pods += self._stand(name, self._pods_in(slice_))
            if pods > CHUNK:
                pods = 0
                yield 0
        yield 0

    def _putting(self, changes: _Changes) -> Steps[None]:
        count = 0
        for key, slices in changes.items():
            for name, held in slices.items():
                if held is not None:
                    self._put(held)
                elif self._owners.get(name) == key:
                    self._drop(name)
            count += len(slices)
            if count > CHUNK:
                count = 0
                yield 0

    def _leaving(self, gone: dict[Name, Slice]) -> Steps[None]:
        count = 0
        while gone:
            # This is usually the last reference: its endpoints are freed here, so it counts.
            name, slice_ = gone.popitem()
            held = self._held(name)
            self._leave(name, self._pods_in(slice_) - self._pods_in(held.slice if held else None))
            count += len(slice_.endpoints)
            if count > CHUNK:
                count = 0
                yield 0

    def _held(self, name: Name) -> HeldSlice | None:
        owner = self._owners.get(name)
        return self._slices[owner][name[1]] if owner is not None else None

    def _read(self, slice_: Slice, before: HeldSlice | None) -> HeldSlice:
        """Return a slice with what its annotation says."""
        weight = read(slice_.weight, parse_weight, before.weight if before else None)
        self._refuse("EndpointSlice", (slice_.service.namespace, slice_.name), {WEIGHT: weight})
        return HeldSlice(slice_, weight)

    def _put(self, held: HeldSlice) -> None:
        slice_ = held.slice
        name = (slice_.service.namespace, slice_.name)
        if self._owners.get(name, slice_.service) != slice_.service:
            self._drop(name)
        self._slices.setdefault(slice_.service, {})[slice_.name] = held
        self._owners[name] = slice_.service
        self._touch(name)

    def _drop(self, name: Name) -> None:
        self._touch(name)
        owner = self._owners.pop(name)
        slices = self._slices[owner]
        del slices[name[1]]
        if not slices:
            del self._slices[owner]

    def _pods_in(self, slice_: Slice | None) -> set[str]:
        """Return the names of the Pods in a slice; none where Pods aren't known."""
        if slice_ is None or not self._watches_pods:
            return set()
        return {one.pod for one in slice_.endpoints if one.pod}

    def _stand(self, name: Name, pods: set[str]) -> int:
        """Index Pods as being in a slice; return how many."""
        for pod in pods:
            self._standings.setdefault((name[0], pod), set()).add(name[1])
        return len(pods)

    def _leave(self, name: Name, pods: set[str]) -> None:
        """Remove a slice from the index of Pods."""
        for pod in pods:
            slices = self._standings[name[0], pod]
            slices.remove(name[1])
            if not slices:
                del self._standings[name[0], pod]


def _same(one: Slice, other: Slice) -> bool:
    return one is other or one == other
