"""The service under test: `lookaside serve` on the API server, as a process, and its clients."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from tests.cluster.api import Object
from tests.cluster.lines import LineProcess
from tests.cluster.processes import ManagedProcess

HOST: Final = "127.0.0.1"
GRPC_PORT: Final = 50052
ADMIN_PORT: Final = 9090
READY_TIMEOUT: Final = 30.0

READ_SLICES: Final[Object] = {
    "apiGroups": ["discovery.k8s.io"],
    "resources": ["endpointslices"],
    "verbs": ["list", "watch"],
}
READ_SERVICES: Final[Object] = {
    "apiGroups": [""],
    "resources": ["services"],
    "verbs": ["list", "watch"],
}
LEAST_RIGHTS: Final = (READ_SLICES, READ_SERVICES)
"""All that the service may do in the cluster."""

READ_PODS: Final[Object] = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
"""What it may do more, to watch Pods."""

REVIEW_TOKENS: Final[Object] = {
    "apiGroups": ["authentication.k8s.io"],
    "resources": ["tokenreviews"],
    "verbs": ["create"],
}
"""What it may do more, to know callers by their tokens."""


class Balancer:
    """One `lookaside serve --source kubernetes` on its default ports, as a context manager.

    Args:
        kubeconfig: How it reaches the cluster.
        directory: Where its log goes.
        flags: More flags.
    """

    def __init__(self, kubeconfig: Path, directory: Path, *flags: str) -> None:
        self.address = f"{HOST}:{GRPC_PORT}"
        self.directory = directory
        argv = [*lookaside("serve", "--source", "kubernetes"), "--kubeconfig", str(kubeconfig)]
        self.process = ManagedProcess("lookaside", [*argv, *flags], directory, quiet())

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.process.start()
        self.wait_ready()

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until it says that it is ready."""
        self.process.wait_until(lambda: self.readiness()[0] == 200, timeout)

    def readiness(self) -> tuple[int, str]:
        """Give the status and the text of /readyz; the status is 0 while nothing listens."""
        url = f"http://{HOST}:{ADMIN_PORT}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str, **labels: str) -> float:
        """Give the sum of a metric's samples that have these labels."""
        url = f"http://{HOST}:{ADMIN_PORT}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def log(self, event: str, **fields: str) -> list[dict[str, Any]]:
        """Give the lines of its log that tell of an event."""
        lines = self.process.log.read_text().splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in said if line["event"] == event and fields.items() <= line.items()]

    def get(self, service: str, *, token: str = "", **asked: Any) -> pb.GetServersResponse:
        """Ask for a list.

        Args:
            service: Its service.
            token: A Kubernetes token to show; "" for none.
            asked: More fields of the request: client=pb.Client(zone="eu-1a"), say.

        Raises:
            grpc.RpcError: The service refuses.
        """
        request = pb.GetServersRequest(service_name=service, **asked)
        shown = (("authorization", f"Bearer {token}"),) if token else ()
        with self.channel() as channel:
            answer: pb.GetServersResponse = LoadBalancerStub(channel).GetServers(
                request, timeout=10, metadata=shown
            )
            return answer

    def explain(self, service: str, **asked: Any) -> pb.ExplainResponse:
        """Ask why a list is as it is; `asked` are more fields of the request."""
        request = pb.ExplainRequest(service_name=service, **asked)
        with self.channel() as channel:
            answer: pb.ExplainResponse = LoadBalancerStub(channel).Explain(request, timeout=10)
            return answer

    def refusal(self, service: str, *, token: str = "") -> tuple[grpc.StatusCode, str]:
        """Ask for a list that is refused; give the status code and its text."""
        with pytest.raises(grpc.RpcError) as refusal:
            self.get(service, token=token)
        return refusal.value.code(), refusal.value.details() or ""

    def channel(self) -> grpc.Channel:
        """Make a channel with a connection of its own."""
        return grpc.insecure_channel(self.address, _OPTIONS)

    def wait(
        self,
        service: str,
        holds: Callable[[pb.WatchServersResponse], bool],
        timeout: float = 30,
    ) -> pb.WatchServersResponse:
        """Watch a service until a list of it is as a test wants it, and give that list.

        Raises:
            TimeoutError: None was, in time; the message gives the last one.
        """
        deadline = time.monotonic() + timeout
        last = pb.WatchServersResponse()
        message: pb.WatchServersResponse
        with self.channel() as channel:
            request = pb.WatchServersRequest(service_name=service)
            stream = LoadBalancerStub(channel).WatchServers(request, timeout=timeout)
            try:
                for message in stream:
                    last = message
                    if holds(message):
                        return message
            except grpc.RpcError as error:
                if time.monotonic() < deadline - 1:
                    raise
                raise TimeoutError(f"{service} is not as wanted: {last}") from error
        raise AssertionError(f"the watch of {service} ended")

    def wait_for(self, service: str, *addresses: str) -> pb.WatchServersResponse:
        """Wait until a service has just these backends."""
        wanted = sorted(addresses)
        return self.wait(service, lambda message: sorted(served(message)) == wanted)

    def command(self, *args: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of `lookaside`, such as get, against this balancer."""
        return subprocess.run(
            lookaside(*args),
            env={**os.environ, **quiet(), "LOOKASIDE_ADDRESS": self.address},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def watching(self, service: str, form: str = "json") -> AbstractContextManager[LineProcess]:
        """Run `lookaside watch SERVICE -o FORM`."""
        argv = lookaside("watch", service, "-o", form, "--address", self.address)
        return LineProcess(argv, self.directory / "watch.log", {**os.environ, **quiet()})


def lookaside(*args: str) -> list[str]:
    """Give the command line of a `lookaside` command."""
    return [sys.executable, "-m", "lookaside", *args]


def served(message: pb.WatchServersResponse | pb.GetServersResponse) -> list[str]:
    """Give the addresses of a list, in its order."""
    return [server.address for server in message.servers]


def weights(message: pb.WatchServersResponse | pb.GetServersResponse) -> dict[str, int]:
    """Give the weights of a list, by address, in its order."""
    return {server.address: server.weight for server in message.servers}


def quiet() -> Mapping[str, str]:
    """Give variables under which a command takes no settings from the machine that it runs on."""
    return {name: "" for name in os.environ if name.startswith("LOOKASIDE_")} | {"KUBECONFIG": ""}


_OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
