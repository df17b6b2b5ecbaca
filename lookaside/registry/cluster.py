"""The Services, EndpointSlices and Pods of a cluster, and which services a change touches."""

from collections.abc import Iterable, Mapping

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.policy.service_config import SERVICE_CONFIG
from lookaside.policy.weights import WEIGHT, WEIGHTS, parse_weight
from lookaside.registry.annotations import (
    Reading,
    Refusal,
    ServicePolicy,
    read,
    refusals,
    service_policy,
)
from lookaside.registry.merge import HeldPod, HeldSlice, Inputs, MergeOptions
from lookaside.registry.slices import Pod, Service, Slice

Name = tuple[str, str]


class Cluster:
    """An index of slices by service, kept by slice name.

    A service's endpoints are always the union of the slices held at that moment: a Pod that has
    moved to another slice survives the update of the one it left.

    Args:
        options: How endpoints are made.
        pods: Whether Pods are known; only then is it kept which slices they stand in.
    """

    def __init__(self, options: MergeOptions | None = None, *, pods: bool = False) -> None:
        self._options = options or MergeOptions()
        self._watches_pods = pods
        self._services: dict[ServiceKey, tuple[Service, ServicePolicy]] = {}
        self._slices: dict[ServiceKey, dict[str, HeldSlice]] = {}
        self._owners: dict[Name, ServiceKey] = {}
        self._pods: dict[str, dict[str, HeldPod]] = {}
        self._standings: dict[Name, dict[ServiceKey, int]] = {}
        self._touched: set[ServiceKey] = set()
        self._refused: dict[Refusal, None] = {}

    def set_service(self, service: Service) -> None:
        """Add a Service or put it in the place of its older self."""
        before = self._services.get(service.key)
        if before is not None and before[0] == service:
            return
        policy = service_policy(
            service.weights, service.service_config, before[1] if before else None
        )
        self._services[service.key] = (service, policy)
        self._touched.add(service.key)
        readings = {WEIGHTS: policy.weights, SERVICE_CONFIG: policy.service_config}
        self._refuse("Service", (service.key.namespace, service.key.name), readings)

    def remove_service(self, key: ServiceKey) -> None:
        """Take a Service away. Its slices are kept: they may be seen to go later, or to stay."""
        if self._services.pop(key, None) is not None:
            self._touched.add(key)

    def set_slice(self, slice_: Slice) -> None:
        """Add a slice or put it in the place of its older self, whatever service that was of."""
        name = (slice_.service.namespace, slice_.name)
        owner = self._owners.get(name)
        if owner is not None and owner != slice_.service:
            self.remove_slice(*name)
        slices = self._slices.setdefault(slice_.service, {})
        before = slices.get(slice_.name)
        if before is not None and before.slice == slice_:
            return
        weight = read(slice_.weight, parse_weight, before.weight if before else None)
        slices[slice_.name] = HeldSlice(slice_, weight)
        self._owners[name] = slice_.service
        self._touched.add(slice_.service)
        self._stand(before.slice if before else None, slice_)
        self._refuse("EndpointSlice", name, {WEIGHT: weight})

    def remove_slice(self, namespace: str, name: str) -> None:
        """Take a slice away; one that is not known is none."""
        owner = self._owners.pop((namespace, name), None)
        if owner is None:
            return
        slices = self._slices[owner]
        self._stand(slices.pop(name).slice, None)
        if not slices:
            del self._slices[owner]
        self._touched.add(owner)

    def set_pod(self, pod: Pod) -> None:
        """Add a Pod or put it in the place of its older self."""
        pods = self._pods.setdefault(pod.namespace, {})
        before = pods.get(pod.name)
        if before is not None and before.pod == pod:
            return
        same = before if before is not None and before.pod.uid == pod.uid else None
        weight = read(pod.weight, parse_weight, same.weight if same else None)
        pods[pod.name] = HeldPod(pod, weight)
        name = (pod.namespace, pod.name)
        self._touched.update(self._standings.get(name, ()))
        self._refuse("Pod", name, {WEIGHT: weight})

    def remove_pod(self, namespace: str, name: str) -> None:
        """Take a Pod away; one that is not known is none."""
        pods = self._pods.get(namespace, {})
        if pods.pop(name, None) is not None:
            self._touched.update(self._standings.get((namespace, name), ()))

    def replace_services(self, services: Iterable[Service]) -> None:
        """Put a complete list of Services in the place of all that are held."""
        gone = set(self._services)
        for service in services:
            gone.discard(service.key)
            self.set_service(service)
        for key in gone:
            self.remove_service(key)

    def replace_slices(self, slices: Iterable[Slice]) -> None:
        """Put a complete list of slices in the place of all that are held."""
        gone = set(self._owners)
        for slice_ in slices:
            gone.discard((slice_.service.namespace, slice_.name))
            self.set_slice(slice_)
        for name in gone:
            self.remove_slice(*name)

    def replace_pods(self, pods: Iterable[Pod]) -> None:
        """Put a complete list of Pods in the place of all that are held."""
        gone = {(namespace, name) for namespace, held in self._pods.items() for name in held}
        for pod in pods:
            gone.discard((pod.namespace, pod.name))
            self.set_pod(pod)
        for name in gone:
            self.remove_pod(*name)

    def touched(self) -> dict[ServiceKey, ServiceRecord | None]:
        """Return the services that changed since the last call, None for one that is gone."""
        touched, self._touched = self._touched, set()
        return {
            key: self._record(key) if key in self._services else None for key in sorted(touched)
        }

    def records(self) -> list[ServiceRecord]:
        """Return every service."""
        return [self._record(key) for key in self._services]

    def refused(self) -> list[Refusal]:
        """Return the annotations that were refused since the last call."""
        refused, self._refused = self._refused, {}
        return list(refused)

    def _record(self, key: ServiceKey) -> ServiceRecord:
        service, policy = self._services[key]
        return Inputs(
            service,
            policy,
            tuple(self._slices.get(key, {}).values()),
            self._pods.get(key.namespace, {}),
            self._options,
        ).merge()

    def _refuse(self, kind: str, name: Name, readings: Mapping[str, Reading[object]]) -> None:
        self._refused.update(dict.fromkeys(refusals(kind, *name, readings)))

    def _stand(self, before: Slice | None, after: Slice | None) -> None:
        """Keep, for each Pod, how many slices of which services it stands in."""
        if not self._watches_pods:
            return
        for slice_, step in ((before, -1), (after, 1)):
            if slice_ is None:
                continue
            for endpoint in slice_.endpoints:
                name = (slice_.service.namespace, endpoint.pod)
                counts = self._standings.setdefault(name, {})
                counts[slice_.service] = counts.get(slice_.service, 0) + step
                if not counts[slice_.service]:
                    del counts[slice_.service]
                if not counts:
                    del self._standings[name]
