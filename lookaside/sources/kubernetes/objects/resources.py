"""The resources that are watched."""

from typing import Generic, TypeVar

from msgspec import Struct

from lookaside.registry.slices import Pod, Service, Slice
from lookaside.sources.kubernetes.api.decode import Codec
from lookaside.sources.kubernetes.objects.endpoint_slices import ENDPOINT_SLICES, EndpointSliceJson
from lookaside.sources.kubernetes.objects.pods import PODS, PodJson
from lookaside.sources.kubernetes.objects.services import SERVICES, ServiceJson

J = TypeVar("J")
T = TypeVar("T")


JSON = "application/json"
# https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
_METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Resource(Struct, Generic[J, T], frozen=True):
    """A resource of the API.

    Attributes:
        group: Its API group; "" for core.
        version: Its API version.
        plural: Its name in paths and RBAC rules.
        codec: How its objects are read.
        metadata_only: Ask for the metadata of the objects alone. A server that can't give that
            gives whole objects.
    """

    group: str
    version: str
    plural: str
    codec: Codec[J, T]
    metadata_only: bool = False

    @property
    def list_accept(self) -> str:
        """The header Accept of a list."""
        return f"{_METADATA_LIST},{JSON}" if self.metadata_only else JSON

    @property
    def watch_accept(self) -> str:
        """The header Accept of a watch."""
        return f"{_METADATA},{JSON}" if self.metadata_only else JSON

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
PODS_RESOURCE: Resource[PodJson, Pod] = Resource("", "v1", "pods", PODS, metadata_only=True)
