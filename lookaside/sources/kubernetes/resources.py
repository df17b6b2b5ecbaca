"""The two resources that are watched."""

from typing import Generic, TypeVar

from msgspec import Struct

from lookaside.registry.slices import Service, Slice
from lookaside.sources.kubernetes.decode import Codec
from lookaside.sources.kubernetes.services import SERVICES, ServiceJson
from lookaside.sources.kubernetes.slices import ENDPOINT_SLICES, EndpointSliceJson

J = TypeVar("J")
T = TypeVar("T")


class Resource(Struct, Generic[J, T], frozen=True):
    """A resource of the API.

    Attributes:
        group: Its API group; "" for core.
        version: Its API version.
        plural: Its name in paths and RBAC rules.
        codec: How its objects are read.
    """

    group: str
    version: str
    plural: str
    codec: Codec[J, T]

    def path(self, namespace: str | None) -> str:
        """Return the path of the list, of one namespace or of all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return (
            f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"
        )

    def rbac_rule(self, namespace: str | None) -> str:
        """Say which RBAC rule a service account must have."""
        where = f"a Role in namespace {namespace!r}" if namespace else "a ClusterRole"
        return (
            f'{where} needs the rule apiGroups: ["{self.group}"], resources: ["{self.plural}"], '
            'verbs: ["list", "watch"]'
        )


SLICES_RESOURCE: Resource[EndpointSliceJson, Slice] = Resource(
    "discovery.k8s.io", "v1", "endpointslices", ENDPOINT_SLICES
)
SERVICES_RESOURCE: Resource[ServiceJson, Service] = Resource("", "v1", "services", SERVICES)
