"""The Services and EndpointSlices of a cluster, and which services a change touches."""

from collections.abc import Iterable

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.merge import merge
from lookaside.registry.slices import Service, Slice


class Cluster:
    """An index of slices by service, kept by slice name.

    A service's endpoints are always the union of the slices held at that moment: a Pod that has
    moved to another slice survives the update of the one it left.
    """

    def __init__(self) -> None:
        self._services: dict[ServiceKey, Service] = {}
        self._slices: dict[ServiceKey, dict[str, Slice]] = {}
        self._owners: dict[tuple[str, str], ServiceKey] = {}
        self._touched: set[ServiceKey] = set()

    def set_service(self, service: Service) -> None:
        """Add a Service or put it in the place of its older self."""
        if self._services.get(service.key) != service:
            self._services[service.key] = service
            self._touched.add(service.key)

    def remove_service(self, key: ServiceKey) -> None:
        """Take a Service away. Its slices are kept: they may be seen to go later, or to stay."""
        if self._services.pop(key, None) is not None:
            self._touched.add(key)

    def set_slice(self, slice_: Slice) -> None:
        """Add a slice or put it in the place of its older self, whatever service that was of."""
        namespace = slice_.service.namespace
        owner = self._owners.get((namespace, slice_.name))
        if owner is not None and owner != slice_.service:
            self.remove_slice(namespace, slice_.name)
        slices = self._slices.setdefault(slice_.service, {})
        if slices.get(slice_.name) != slice_:
            slices[slice_.name] = slice_
            self._owners[namespace, slice_.name] = slice_.service
            self._touched.add(slice_.service)

    def remove_slice(self, namespace: str, name: str) -> None:
        """Take a slice away; one that is not known is none."""
        owner = self._owners.pop((namespace, name), None)
        if owner is None:
            return
        slices = self._slices[owner]
        del slices[name]
        if not slices:
            del self._slices[owner]
        self._touched.add(owner)

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
        for namespace, name in gone:
            self.remove_slice(namespace, name)

    def touched(self) -> dict[ServiceKey, ServiceRecord | None]:
        """Return the services that changed since the last call, None for one that is gone."""
        touched, self._touched = self._touched, set()
        return {key: self._record(key) for key in sorted(touched)}

    def records(self) -> list[ServiceRecord]:
        """Return every service."""
        return [self._merge(service) for service in self._services.values()]

    def _record(self, key: ServiceKey) -> ServiceRecord | None:
        service = self._services.get(key)
        return None if service is None else self._merge(service)

    def _merge(self, service: Service) -> ServiceRecord:
        return merge(service, self._slices.get(service.key, {}).values())
