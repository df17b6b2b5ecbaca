"""Pods that have a process: greeters at Pods' addresses, with the Pods' lives in the API."""

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.cluster.objects import Namespace, Port
from tests.cluster.processes import ManagedProcess

PORT: Final = 50051
_START_TIMEOUT: Final = 30.0
_END_TIMEOUT: Final = 20.0


@dataclass(frozen=True)
class Greeter:
    """A Pod and its process.

    Attributes:
        name: The Pod's name.
        target: HOST:PORT, as clients and lists name it.
        process: The greeter.
    """

    name: str
    target: str
    process: ManagedProcess

    def listens(self) -> bool:
        """Say whether the process has said that it takes calls."""
        return self.target in self.process.tail()


class Greeters:
    """The greeters of one Service, as a context manager that ends their processes.

    Args:
        namespace: The namespace of the Pods.
        pod_address: Gives the next Pod's address.
        directory: Where their logs go.
        app: The value of the label `app` that the Service selects.
    """

    def __init__(
        self,
        namespace: Namespace,
        pod_address: Callable[[], str],
        directory: Path,
        app: str = "greeter",
    ) -> None:
        self._namespace = namespace
        self._pod_address = pod_address
        self._directory = directory
        self._app = app
        self._made = 0
        self.running: list[Greeter] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for greeter in self.running:
            greeter.process.stop()

    @property
    def targets(self) -> set[str]:
        """HOST:PORT of those that run."""
        return {greeter.target for greeter in self.running}

    def launch(self, count: int, port: int = PORT) -> list[Greeter]:
        """Start processes that listen, before the API knows of them."""
        started = [self._start(port) for _ in range(count)]
        for greeter in started:
            greeter.process.wait_until(greeter.listens, _START_TIMEOUT)
        return started

    def announce(self, greeters: Sequence[Greeter]) -> None:
        """Have the API know their Pods, ready."""
        for greeter in greeters:
            address, _, port = greeter.target.rpartition(":")
            self._namespace.pod(
                greeter.name, address, app=self._app, ports=[Port(int(port), "grpc")]
            )

    def add(self, count: int, port: int = PORT) -> list[Greeter]:
        """Start processes, and then have the API know their Pods, ready."""
        greeters = self.launch(count, port)
        self.announce(greeters)
        return greeters

    def terminate(self, *greeters: Greeter) -> None:
        """Begin the Pods' end in the API, and no more."""
        for greeter in greeters:
            self._namespace.terminate_pod(greeter.name)

    def end(self, *greeters: Greeter) -> None:
        """End the processes as a kubelet does, all by SIGTERM; then the Pods are gone."""
        for greeter in greeters:
            self.running.remove(greeter)
            greeter.process.signal(signal.SIGTERM)
        for greeter in greeters:
            assert greeter.process.wait(_END_TIMEOUT) == 0
            self._namespace.delete_pod(greeter.name)

    def _start(self, port: int) -> Greeter:
        name = f"{self._app}-{self._made}"
        self._made += 1
        target = f"{self._pod_address()}:{port}"
        argv = [sys.executable, "-m", "lookaside.demo.backend", "--listen", target]
        process = ManagedProcess(name, argv, self._directory)
        process.start()
        greeter = Greeter(name, target, process)
        self.running.append(greeter)
        return greeter
