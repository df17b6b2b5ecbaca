"""A Kubernetes control plane without nodes: etcd, kube-apiserver and the controllers, on loopback.

It is meant to run in a network namespace of its own, where its ports are free: see
`tests.cluster.run`.
"""

import signal
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.cluster import network, pki
from tests.cluster.api import ApiClient
from tests.cluster.processes import ManagedProcess

HOST: Final = "127.0.0.1"
_START_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class Binaries:
    """The programs that the tests run."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    grpcurl: Path
    helm: Path
    kubectl: Path
    goclient: Path
    kubeproxy: Path
    promtool: Path

    @classmethod
    def in_directory(cls, directory: Path) -> Self:
        """Take the programs from one directory, under their usual names."""
        return cls(
            etcd=directory / "etcd",
            kube_apiserver=directory / "kube-apiserver",
            kube_controller_manager=directory / "kube-controller-manager",
            grpcurl=directory / "grpcurl",
            helm=directory / "helm",
            kubectl=directory / "kubectl",
            goclient=directory / "goclient",
            kubeproxy=directory / "kubeproxy",
            promtool=directory / "promtool",
        )


@dataclass(frozen=True)
class Settings:
    """What a control plane is started with.

    Attributes:
        api_port: The API server's port on 127.0.0.1.
        etcd_port: etcd's port for clients.
        etcd_peer_port: etcd's port for peers.
        service_cidr: Where the Services' addresses come from, by default those of IPv4.
        advertise_address: An address for the API server that isn't loopback; put on `lo`.
        controllers: Which controllers run.
        api_flags: More flags of kube-apiserver.
    """

    api_port: int = 6443
    etcd_port: int = 2379
    etcd_peer_port: int = 2380
    service_cidr: str = "10.96.0.0/16,fd00:10:96::/112"
    advertise_address: str = "10.255.255.1"
    controllers: tuple[str, ...] = (
        "deployment-controller",
        "disruption-controller",
        "endpointslice-controller",
        "endpointslice-mirroring-controller",
        "garbage-collector-controller",
        "namespace-controller",
        "replicaset-controller",
    )
    api_flags: tuple[str, ...] = ()


class ControlPlane:
    """Owns the processes of one control plane. Authorisation is RBAC; Pods need no service account.

    Args:
        binaries: The programs.
        directory: Where data, certificates and logs go.
        settings: Ports, ranges, controllers.

    Attributes:
        admin: A client that may do everything.
        kubeconfig: A file with the same rights.
        server: The API server's URL.
        certificates: Where the PEM files are.
        etcd, apiserver, controllers: The processes, for tests that stop one of them.
    """

    def __init__(
        self, binaries: Binaries, directory: Path, settings: Settings | None = None
    ) -> None:
        self.settings = settings = settings or Settings()
        self.directory = directory
        self.server = f"https://{HOST}:{settings.api_port}"
        self.certificates = pki.issue(
            directory,
            [HOST, "localhost", "kubernetes.default.svc", settings.advertise_address],
        )
        self.kubeconfig = self.write_kubeconfig("admin")
        self.admin = ApiClient(HOST, settings.api_port, pki.admin_context(self.certificates))
        self.etcd = ManagedProcess("etcd", self._etcd_argv(binaries), directory)
        self.apiserver = ManagedProcess("kube-apiserver", self._apiserver_argv(binaries), directory)
        self.controllers = ManagedProcess(
            "kube-controller-manager", self._controllers_argv(binaries), directory
        )

    def __repr__(self) -> str:
        return f"<ControlPlane {self.server}: {self.etcd} {self.apiserver} {self.controllers}>"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until the API server is ready.

        Raises:
            ProcessError: A process ended, or was not ready within a minute; with its log's end.
        """
        network.add_address(self.settings.advertise_address)
        self.etcd.start()
        self.etcd.wait_until(self._etcd_is_healthy, _START_TIMEOUT)
        self.start_apiserver()
        self.controllers.start()

    def stop(self) -> None:
        """End everything. The addresses on `lo` go with the namespace."""
        self.controllers.stop()
        self.apiserver.stop()
        self.etcd.stop()

    def start_apiserver(self) -> None:
        """Start the API server on the data that etcd holds, and wait until it is ready."""
        self.apiserver.start()
        self.apiserver.wait_until(self.admin.is_ready, _START_TIMEOUT)

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """End the API server, by SIGKILL if `kill`, else by SIGTERM; etcd stays."""
        if kill:
            self.apiserver.kill()
        else:
            self.apiserver.stop(timeout=30)

    def restart_apiserver(self, *, kill: bool = False) -> None:
        """End the API server, start it again and wait until it is ready.

        The controllers are restarted too, for theirs would back off before they list again.
        """
        self.stop_apiserver(kill=kill)
        self.start_apiserver()
        self.restart_controllers()

    def restart_controllers(self) -> None:
        """End the controllers and start them again."""
        self.controllers.stop()
        self.controllers.start()

    def pause_apiserver(self) -> None:
        """Freeze the API server: its connections stay open and nothing comes over them."""
        self.apiserver.signal(signal.SIGSTOP)

    def resume_apiserver(self) -> None:
        """Let a frozen API server go on."""
        self.apiserver.signal(signal.SIGCONT)

    def client(self, token: str) -> ApiClient:
        """Make a client that shows a bearer token and nothing else."""
        context = pki.anonymous_context(self.certificates)
        return ApiClient(HOST, self.settings.api_port, context, token)

    def write_kubeconfig(
        self, name: str, *, token: str | None = None, namespace: str = "default"
    ) -> Path:
        """Write `NAME.kubeconfig` beside the data; without a token it has the admin's rights."""
        return pki.write_kubeconfig(
            self.directory / f"{name}.kubeconfig",
            server=self.server,
            certificates=self.certificates,
            token=token,
            namespace=namespace,
        )

    def add_node(self, name: str, zone: str | None = None) -> None:
        """Create a Node, or change its zone. The slices leave out Pods whose node is unknown."""
        labels = {"kubernetes.io/hostname": name}
        if zone is not None:
            labels["topology.kubernetes.io/zone"] = zone
        known = {node["metadata"]["name"] for node in self.admin.get("/api/v1/nodes")["items"]}
        if name in known:
            self.admin.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}})
        else:
            self.admin.create("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})

    def _etcd_is_healthy(self) -> bool:
        url = f"http://{HOST}:{self.settings.etcd_port}/health"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _etcd_argv(self, binaries: Binaries) -> list[str]:
        clients = f"http://{HOST}:{self.settings.etcd_port}"
        peers = f"http://{HOST}:{self.settings.etcd_peer_port}"
        return [
            str(binaries.etcd),
            "--name=test",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=test={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_argv(self, binaries: Binaries) -> list[str]:
        settings, files = self.settings, self.certificates
        return [
            str(binaries.kube_apiserver),
            f"--etcd-servers=http://{HOST}:{settings.etcd_port}",
            # Pods of the chart's tests are in namespaces of their own, and reach it there.
            "--bind-address=0.0.0.0",
            f"--secure-port={settings.api_port}",
            f"--advertise-address={settings.advertise_address}",
            # The address of the `kubernetes` Service leads nowhere here: leave its slice out.
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={files.serving_cert}",
            f"--tls-private-key-file={files.serving_key}",
            f"--client-ca-file={files.ca}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={files.service_account_key}",
            f"--service-account-key-file={files.service_account_key}",
            f"--service-cluster-ip-range={settings.service_cidr}",
            # Without it the server waits out a minute for the watches that are open when it stops.
            "--shutdown-watch-termination-grace-period=2s",
            "--profiling=false",
            *settings.api_flags,
        ]

    def _controllers_argv(self, binaries: Binaries) -> list[str]:
        return [
            str(binaries.kube_controller_manager),
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(self.settings.controllers)}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]
