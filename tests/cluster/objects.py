"""The objects of one test: a namespace, with its Services, Pods and slices."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from tests.cluster.accounts import Accounts
from tests.cluster.api import STRATEGIC_PATCH, Object
from tests.cluster.harness import ControlPlane

DEFAULT_NODE: Final = "node-a"
SERVICE_NAME: Final = "kubernetes.io/service-name"
Annotated = Literal["service", "pod", "slice"]


@dataclass(frozen=True)
class Port:
    """A port of a Service.

    Attributes:
        port: Its number.
        name: Its name; "" is allowed where a Service has one port.
        target: The number of the container's port, or its name; None: the same number.
        app_protocol: kubernetes.io/h2c, say.
    """

    port: int = 50051
    name: str = "grpc"
    target: int | str | None = None
    app_protocol: str | None = None

    def as_object(self) -> Object:
        """Give the port as the API wants it."""
        port: Object = {"port": self.port, "targetPort": self.target or self.port}
        if self.name:
            port["name"] = self.name
        if self.app_protocol:
            port["appProtocol"] = self.app_protocol
        return port


class Namespace(Accounts):
    """A namespace of the cluster, and the means to fill it. Make one with `create`."""

    def __init__(self, control_plane: ControlPlane, name: str) -> None:
        super().__init__(control_plane, name)
        self._api = control_plane.admin
        self._core = f"/api/v1/namespaces/{name}"
        self._slices = f"/apis/discovery.k8s.io/v1/namespaces/{name}/endpointslices"

    @classmethod
    def create(cls, control_plane: ControlPlane, name: str) -> Self:
        """Create the namespace in the cluster."""
        control_plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        return cls(control_plane, name)

    def delete(self) -> None:
        """Delete the namespace; its controller empties it in the background."""
        self._api.delete(f"/api/v1/namespaces/{self.name}")

    def service(
        self,
        name: str,
        ports: Sequence[Port] = (Port(),),
        *,
        selector: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> Object:
        """Create a Service.

        Args:
            name: Its name.
            ports: Its ports.
            selector: Which Pods belong to it; None: those with the label app=NAME; {}: none.
            annotations: Its annotations.
            spec: More fields of the spec, by their API names: clusterIP="None", say.

        Returns:
            The Service.
        """
        chosen = {"app": name} if selector is None else dict(selector)
        fields = {"ports": [port.as_object() for port in ports], "selector": chosen, **spec}
        metadata = {"name": name, "annotations": dict(annotations or {})}
        return self._api.create(f"{self._core}/services", {"metadata": metadata, "spec": fields})

    def delete_service(self, name: str) -> None:
        """Delete a Service; its slices go after it."""
        self._api.delete(f"{self._core}/services/{name}")

    def pod(
        self,
        name: str,
        address: str,
        *,
        app: str,
        ready: bool = True,
        node: str = DEFAULT_NODE,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        ports: Sequence[Port] = (Port(),),
        second_address: str = "",
        **spec: Any,
    ) -> Object:
        """Create a Pod as its node would report it: running, with an address, ready or not.

        Args:
            name: Its name.
            address: Its IP address; it need not exist.
            app: The value of its label `app`.
            ready: Whether it is ready.
            node: Its node, created if it is unknown by that name; see `ControlPlane.add_node`.
            labels: More labels.
            annotations: Its annotations.
            ports: Its container's ports, by which a Service finds a named target port.
            second_address: Its address in the other family; "" for none.
            spec: More fields of the spec, by their API names: hostname="first", say.

        Returns:
            The Pod.
        """
        self._ensure_node(node)
        container = {
            "name": "main",
            "image": "none.invalid/none",
            "ports": [
                {"containerPort": port.port} | ({"name": port.name} if port.name else {})
                for port in ports
            ],
        }
        fields = {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "containers": [container],
            **spec,
        }
        metadata = {
            "name": name,
            "labels": {"app": app, **(labels or {})},
            "annotations": dict(annotations or {}),
        }
        self._api.create(f"{self._core}/pods", {"metadata": metadata, "spec": fields})
        addresses = [{"ip": each} for each in (address, second_address) if each]
        status = {"phase": "Running", "podIP": address, "podIPs": addresses}
        self._patch_status(name, status)
        return self.set_ready(name, ready)

    def set_ready(self, name: str, ready: bool) -> Object:
        """Report a Pod as ready or not ready."""
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        return self._patch_status(name, {"conditions": [condition]})

    def terminate_pod(self, name: str, grace: int = 300) -> None:
        """Begin a Pod's end: it stays, as terminating, until `delete_pod`, whatever its grace."""
        self._api.delete(f"{self._core}/pods/{name}", grace=grace)

    def delete_pod(self, name: str) -> None:
        """Remove a Pod at once, as its node does when it has ended."""
        self._api.delete(f"{self._core}/pods/{name}", grace=0)

    def slice(
        self,
        name: str,
        service: str,
        body: Object,
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Object:
        """Create an EndpointSlice by hand, for a Service without a selector.

        Args:
            name: Its name.
            service: The Service that it belongs to; "": none.
            body: addressType (IPv4 where it is missing), endpoints and ports.
            labels: More labels.
            annotations: Its annotations.

        Returns:
            The slice.
        """
        belongs = {SERVICE_NAME: service} if service else {}
        metadata = {
            "name": name,
            "labels": {**belongs, **(labels or {})},
            "annotations": dict(annotations or {}),
        }
        return self._api.create(self._slices, {"addressType": "IPv4", "metadata": metadata, **body})

    def set_endpoints(self, name: str, endpoints: Sequence[Object]) -> Object:
        """Give a slice other endpoints."""
        return self._api.patch(f"{self._slices}/{name}", {"endpoints": list(endpoints)})

    def delete_slice(self, name: str) -> None:
        """Delete a slice."""
        self._api.delete(f"{self._slices}/{name}")

    def annotate(self, kind: Annotated, name: str, annotation: str, value: str | None) -> Object:
        """Set an annotation of an object, or take it away: None."""
        path = f"{self._slices}/{name}" if kind == "slice" else f"{self._core}/{kind}s/{name}"
        return self._api.patch(path, {"metadata": {"annotations": {annotation: value}}})

    def wait_for_slices(
        self, service: str, holds: Callable[[list[Object]], bool], timeout: float = 30
    ) -> list[Object]:
        """Wait until the EndpointSlices of a Service are as a test wants them.

        Raises:
            TimeoutError: They were not within `timeout` seconds; the message gives them.
        """
        selector = f"{SERVICE_NAME}={service}"
        return self._api.wait(self._slices, holds, timeout, labelSelector=selector)

    def wait_for_ready(
        self, service: str, addresses: Iterable[str], timeout: float = 30
    ) -> list[Object]:
        """Wait until just these addresses are the ready ones in the slices of a Service."""
        wanted = sorted(addresses)

        def holds(slices: list[Object]) -> bool:
            return ready_addresses(slices) == wanted

        return self.wait_for_slices(service, holds, timeout)

    def _ensure_node(self, name: str) -> None:
        nodes = self._api.get("/api/v1/nodes")["items"]
        if name not in {node["metadata"]["name"] for node in nodes}:
            self.control_plane.add_node(name)

    def _patch_status(self, pod: str, status: Object) -> Object:
        path = f"{self._core}/pods/{pod}/status"
        return self._api.patch(path, {"status": status}, STRATEGIC_PATCH)


def ready_addresses(slices: Iterable[Object]) -> list[str]:
    """Give the addresses of the ready endpoints of some slices, sorted; nil counts as ready."""
    return sorted(
        endpoint["addresses"][0]
        for item in slices
        for endpoint in item.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready") is not False
    )
