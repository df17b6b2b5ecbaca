"""What kubelets do, for the Pods of one namespace: it runs them, probes them and ends them."""

import itertools
import threading
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.cluster.api import STRATEGIC_PATCH, ApiError, Object
from tests.cluster.objects import DEFAULT_NODE, Namespace
from tests.cluster.sandbox import ADDRESS, Container, Mount, Sandbox

ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_PAUSE: Final = 0.1
_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")


class Node:
    """Runs the Pods of a namespace that are on no node yet, as a context manager.

    Of several containers the first is run.

    A Pod is ready when its probes, as they are written, succeed one after the other; they are asked
    more often than they say. One that ends gets its preStop pause, SIGTERM and its grace.

    Args:
        namespace: The namespace.
        directory: Where volumes and logs go.
        hosts: Addresses by name, which the Pods know.
        entrypoint: What the image runs of a container that has no command.
        names: The nodes that Pods are put on, in turn.
    """

    def __init__(
        self,
        namespace: Namespace,
        directory: Path,
        hosts: Mapping[str, str] | None = None,
        entrypoint: Sequence[str] = (),
        names: Sequence[str] = (DEFAULT_NODE,),
    ) -> None:
        self._names = names
        self._turn = itertools.cycle(names)
        self._namespace = namespace
        self._api = namespace.control_plane.admin
        self._pods = f"/api/v1/namespaces/{namespace.name}/pods"
        self._directory = directory
        self._stop = threading.Event()
        self._looker = threading.Thread(target=self._look, name="node")
        self._threads: dict[str, threading.Thread] = {}
        self.hosts = dict(hosts or {})
        self.entrypoint = entrypoint
        self.sandboxes: dict[str, Sandbox] = {}
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for name in self._names:
            self._namespace.control_plane.add_node(name)
        self._looker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in (self._looker, *self._threads.values()):
            thread.join()
        for name, sandbox in self.sandboxes.items():
            if error is not None:
                print(f"--- {name}\n{sandbox.tail()}")
        if error is None:
            assert self.failures == []

    def tail(self) -> str:
        """Give the ends of all logs."""
        return "\n".join(sandbox.tail() for sandbox in self.sandboxes.values())

    def _look(self) -> None:
        while not self._stop.wait(_PAUSE):
            for pod in self._api.get(self._pods)["items"]:
                name = pod["metadata"]["name"]
                if name not in self._threads and "nodeName" not in pod["spec"]:
                    pod["spec"]["nodeName"] = next(self._turn)
                    thread = threading.Thread(target=self._live, args=(pod,), name=name)
                    self._threads[name] = thread
                    thread.start()

    def _live(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        try:
            self._bind(name, pod["spec"]["nodeName"])
            sandbox = Sandbox(name, self._container(pod), self._directory)
            self.sandboxes[name] = sandbox
            with sandbox:
                self._follow(pod, sandbox)
        except Exception as error:
            self.failures.append(f"{name}: {error!r}")
            raise

    def _follow(self, pod: Object, sandbox: Sandbox) -> None:
        name, spec = pod["metadata"]["name"], pod["spec"]
        container = spec["containers"][0]
        addresses = {"podIP": sandbox.address, "podIPs": [{"ip": sandbox.address}]}
        self._report(name, {"phase": "Running", **addresses})
        probes = [container[probe] for probe in _PROBES if probe in container]
        ready = False
        while not self._stop.wait(_PAUSE):
            status = sandbox.ended()
            if status is not None:
                if spec["restartPolicy"] == "Always":
                    self.failures.append(f"{name} ended with {status}: {sandbox.tail()}")
                phase = "Failed" if status else "Succeeded"
                self._report(name, {"phase": phase, "containerStatuses": [_ended(pod, status)]})
                return
            if self._is_leaving(name):
                pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
                self._stop.wait(pause.get("seconds", 0))
                sandbox.stop(spec["terminationGracePeriodSeconds"])
                self._delete(name)
                return
            now = all(_succeeds(probe, container, sandbox.address) for probe in probes)
            if now != ready:
                ready = now
                condition = {"type": "Ready", "status": "True" if ready else "False"}
                self._report(name, {"conditions": [condition]})

    def _bind(self, name: str, node: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        self._api.create(
            f"{self._pods}/{name}/binding", {"metadata": {"name": name}, "target": target}
        )

    def _report(self, name: str, status: Object) -> None:
        # It may have been deleted by force meanwhile.
        with suppress(ApiError):
            self._api.patch(f"{self._pods}/{name}/status", {"status": status}, STRATEGIC_PATCH)

    def _is_leaving(self, name: str) -> bool:
        try:
            return "deletionTimestamp" in self._api.get(f"{self._pods}/{name}")["metadata"]
        except ApiError:
            return True

    def _delete(self, name: str) -> None:
        with suppress(ApiError):
            self._api.delete(f"{self._pods}/{name}", grace=0)

    def _container(self, pod: Object) -> Container:
        spec = pod["spec"]
        container = spec["containers"][0]
        folder = self._directory / pod["metadata"]["name"]
        volumes = {each["name"]: each for each in spec.get("volumes", [])}
        mounts = []
        for each in container.get("volumeMounts", []):
            source = folder / each["name"]
            self._fill(volumes[each["name"]], source, spec)
            mounts.append(Mount(source, each["mountPath"], each.get("readOnly", False)))
        if spec.get("automountServiceAccountToken"):
            source = folder / "service-account"
            self._fill_account(source, spec["serviceAccountName"])
            mounts.append(Mount(source, ACCOUNT, read_only=True))
        settings = self._namespace.control_plane.settings
        environment = {
            "KUBERNETES_SERVICE_HOST": settings.advertise_address,
            "KUBERNETES_SERVICE_PORT": str(settings.api_port),
            **dict(_environment(container, pod)),
        }
        return Container(
            [*container.get("command", self.entrypoint), *container["args"]],
            environment,
            mounts,
            self.hosts,
            container["securityContext"]["readOnlyRootFilesystem"],
        )

    def _fill(self, volume: Object, folder: Path, spec: Object) -> None:
        """Write what a volume holds."""
        folder.mkdir(parents=True)
        core = f"/api/v1/namespaces/{self._namespace.name}"
        data: dict[str, bytes] = {}
        items: list[Object] = []
        if "configMap" in volume:
            items = volume["configMap"].get("items", [])
            found = self._api.get(f"{core}/configmaps/{volume['configMap']['name']}")
            data = {key: text.encode() for key, text in found["data"].items()}
        elif "secret" in volume:
            items = volume["secret"].get("items", [])
            found = self._api.get(f"{core}/secrets/{volume['secret']['secretName']}")
            data = {key: b64decode(text) for key, text in found["data"].items()}
        elif "projected" in volume:
            for source in volume["projected"]["sources"]:
                asked = source["serviceAccountToken"]
                token = self._namespace.token(spec["serviceAccountName"], asked["audience"])
                data[asked["path"]] = token.encode()
        if items:
            data = {each["path"]: data[each["key"]] for each in items}
        for name, content in data.items():
            (folder / name).write_bytes(content)

    def _fill_account(self, folder: Path, account: str) -> None:
        folder.mkdir(parents=True)
        authority = self._namespace.control_plane.certificates.ca
        (folder / "token").write_text(self._namespace.token(account))
        (folder / "ca.crt").write_bytes(authority.read_bytes())
        (folder / "namespace").write_text(self._namespace.name)


def _environment(container: Object, pod: Object) -> Iterator[tuple[str, str]]:
    for each in container.get("env", []):
        if "valueFrom" not in each:
            yield each["name"], each["value"]
        elif each["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name":
            yield each["name"], pod["metadata"]["name"]
        elif each["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName":
            yield each["name"], pod["spec"]["nodeName"]
        elif each["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP":
            yield each["name"], ADDRESS
        else:
            raise NotImplementedError(f"the variable {each} of a Pod")


def _succeeds(probe: Object, container: Object, address: str) -> bool:
    timeout = probe["timeoutSeconds"]
    if "grpc" in probe:
        return _serving(f"{address}:{probe['grpc']['port']}", timeout)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    asked = probe["httpGet"]
    try:
        url = f"http://{address}:{ports[asked['port']]}{asked['path']}"
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return bool(answer.status < 400)
    except OSError:
        return False


def _serving(target: str, timeout: float) -> bool:
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _ended(pod: Object, status: int) -> Object:
    container = pod["spec"]["containers"][0]
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": {"exitCode": status}},
    }
