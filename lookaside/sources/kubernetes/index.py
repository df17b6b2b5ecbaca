"""The source's index of a cluster, and the changes that are still to be published."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from msgspec import Struct

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.annotations import RefusedAnnotation
from lookaside.registry.cluster import Cluster
from lookaside.registry.slices import Pod, Service, Slice
from lookaside.registry.steps import Steps
from lookaside.sources.kubernetes.annotation_warnings import AnnotationWarnings
from lookaside.sources.kubernetes.resource_store import ObjectUpdate


class Batch(Struct, frozen=True, gc=False):
    """Services that have changed.

    Attributes:
        changes: The services, as they are now; None for one that is gone.
        versions: The resource version of the last event that touched each, or up to which its
            change is known to hold.
    """

    changes: Mapping[ServiceKey, ServiceRecord | None]
    versions: Mapping[ServiceKey, int] = {}

    def version(self, key: ServiceKey) -> int:
        """Return the version of the change of one service."""
        return self.versions.get(key, 0)


class Index:
    """The index of the cluster, and by which events its services were touched.

    Args:
        cluster: The index.
        warnings: Who tells of refused annotations.
    """

    def __init__(self, cluster: Cluster, warnings: AnnotationWarnings) -> None:
        self._cluster = cluster
        self._warnings = warnings
        self._versions: dict[ServiceKey, int] = {}

    def replacing_slices(
        self, slices: Collection[Slice], version: int, namespace: str | None = None
    ) -> Steps[None]:
        """Take the list of a namespace's slices, or of all, which holds up to a version."""
        steps = self._cluster.replacing_slices(slices, namespace)
        refused = yield from self._noting(steps, version)
        yield from self._warnings.listing("EndpointSlice", slices, refused, namespace)

    def replacing_services(
        self, services: Collection[Service], version: int, namespace: str | None = None
    ) -> Steps[None]:
        """Take the list of a namespace's Services, or of all, which holds up to a version."""
        steps = self._cluster.replacing_services(services, namespace)
        refused = yield from self._noting(steps, version)
        yield from self._warnings.listing("Service", services, refused, namespace)

    def replacing_pods(
        self, pods: Collection[Pod], version: int, namespace: str | None = None
    ) -> Steps[None]:
        """Take the list of a namespace's Pods, or of all, which holds up to a version."""
        steps = self._cluster.replacing_pods(pods, namespace)
        refused = yield from self._noting(steps, version)
        yield from self._warnings.listing("Pod", pods, refused, namespace)

    def change_slices(self, updates: Sequence[ObjectUpdate[Slice]]) -> None:
        """Take what some slices have become."""
        for each in updates:
            if each.new is not None:
                self._cluster.set_slice(each.new)
            else:
                self._cluster.remove_slice(*each.key)
            self._note(each.version)
        self._warnings.followed("EndpointSlice", updates, self._cluster.refused())

    def change_services(self, updates: Sequence[ObjectUpdate[Service]]) -> None:
        """Take what some Services have become."""
        for each in updates:
            if each.new is not None:
                self._cluster.set_service(each.new)
            else:
                self._cluster.remove_service(ServiceKey(*each.key))
            self._note(each.version)
        self._warnings.followed("Service", updates, self._cluster.refused())

    def change_pods(self, updates: Sequence[ObjectUpdate[Pod]]) -> None:
        """Take what some Pods have become."""
        for each in updates:
            if each.new is not None:
                self._cluster.set_pod(each.new)
            else:
                self._cluster.remove_pod(*each.key)
            self._note(each.version)
        self._warnings.followed("Pod", updates, self._cluster.refused())

    def absence(self, key: ServiceKey) -> str:
        """Return what there is of a service that isn't there, in words; "" for nothing."""
        return self._cluster.absence(key)

    def touch(self, keys: Iterable[ServiceKey]) -> None:
        """Have services rebuilt although nothing has changed."""
        for key in keys:
            self._versions.setdefault(key, 0)

    def take(self) -> dict[ServiceKey, int]:
        """Return the services that were touched since the last time, and by which version."""
        versions, self._versions = self._versions, {}
        return versions

    def services(self) -> list[ServiceKey]:
        """Return the Services that there are."""
        return self._cluster.services()

    def is_large(self, key: ServiceKey) -> bool:
        """Whether a service has so large a list that it is merged at its own pace."""
        return self._cluster.is_large(key)

    def recording(self, key: ServiceKey) -> Steps[ServiceRecord | None]:
        """Return a service as it is when this begins, in steps; None for one that is gone."""
        return self._cluster.recording(key)

    def _noting(self, steps: Steps[None], version: int) -> Steps[list[RefusedAnnotation]]:
        """Do what a list changes; return what it has refused.

        What a step touches is recorded after it: it may be published before the next.
        """
        refused: list[RefusedAnnotation] = []
        for woken in chain(steps, (0,)):
            self._note(version)
            refused += self._cluster.refused()
            yield woken
        return refused

    def _note(self, version: int) -> None:
        for key in self._cluster.take_touched():
            self._versions[key] = max(self._versions.get(key, 0), version)
