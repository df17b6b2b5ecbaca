"""The source's index of a cluster, and the changes that are still to be published."""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.cluster import Cluster
from lookaside.registry.slices import Pod, Service, Slice
from lookaside.registry.steps import Steps
from lookaside.sources.kubernetes.annotation_warnings import AnnotationWarnings
from lookaside.sources.kubernetes.resource_store import ObjectUpdate


class Batch(Struct, frozen=True):
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
        self._floor = 0

    def replace_slices(self, slices: Collection[Slice], version: int) -> None:
        """Take a whole list of slices, which holds up to a resource version."""
        self._cluster.replace_slices(slices)
        self._floor = max(self._floor, version)
        self._warnings.listed("EndpointSlice", slices, self._cluster.refused())

    def replace_services(self, services: Collection[Service], version: int) -> None:
        """Take a whole list of Services, which holds up to a resource version."""
        self._cluster.replace_services(services)
        self._floor = max(self._floor, version)
        self._warnings.listed("Service", services, self._cluster.refused())

    def replace_pods(self, pods: Collection[Pod], version: int) -> None:
        """Take a whole list of Pods, which holds up to a resource version."""
        self._cluster.replace_pods(pods)
        self._floor = max(self._floor, version)
        self._warnings.listed("Pod", pods, self._cluster.refused())

    def change_slices(self, updates: Sequence[ObjectUpdate[Slice]]) -> None:
        """Take what some slices have become."""
        for each in updates:
            for slice_ in (each.old, each.new):
                if slice_ is not None:
                    self._touch(slice_.service, each.version)
            if each.new is not None:
                self._cluster.set_slice(each.new)
            else:
                self._cluster.remove_slice(*each.key)
        self._warnings.followed("EndpointSlice", updates, self._cluster.refused())

    def change_services(self, updates: Sequence[ObjectUpdate[Service]]) -> None:
        """Take what some Services have become."""
        for each in updates:
            key = ServiceKey(*each.key)
            self._touch(key, each.version)
            if each.new is not None:
                self._cluster.set_service(each.new)
            else:
                self._cluster.remove_service(key)
        self._warnings.followed("Service", updates, self._cluster.refused())

    def change_pods(self, updates: Sequence[ObjectUpdate[Pod]]) -> None:
        """Take what some Pods have become."""
        for each in updates:
            # Which services a Pod touches is known to the cluster's index alone.
            self._floor = max(self._floor, each.version)
            if each.new is not None:
                self._cluster.set_pod(each.new)
            else:
                self._cluster.remove_pod(*each.key)
        self._warnings.followed("Pod", updates, self._cluster.refused())

    def absence(self, key: ServiceKey) -> str:
        """Return what there is of a service that isn't there, in words; "" for nothing."""
        return self._cluster.absence(key)

    def take(self) -> dict[ServiceKey, int]:
        """Return the services that were touched since the last time, and by which version."""
        versions = {
            key: max(self._versions.get(key, 0), self._floor)
            for key in self._cluster.take_touched()
        }
        self._versions, self._floor = {}, 0
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

    def _touch(self, key: ServiceKey, version: int) -> None:
        self._versions[key] = max(self._versions.get(key, 0), version)
