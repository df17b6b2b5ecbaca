"""A balancer that says what a test tells it to, on loopback."""

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import pytest
from click.testing import CliRunner, Result

from client_resolver.testing.server import reserve_port
from lookaside._pb import lookaside_pb2 as pb
from lookaside.cli import main

BOUND = 100.0
COMMAND = (sys.executable, "-c", "from lookaside.cli import main; main()")

Item = pb.WatchServersResponse | tuple[grpc.StatusCode, str] | None
Request = pb.GetServersRequest | pb.ExplainRequest | pb.ListServicesRequest | pb.WatchServersRequest


def server(address: str, weight: int = 100, zone: str = "", **metadata: str) -> pb.Server:
    return pb.Server(
        address=address,
        weight=weight,
        metadata=metadata,
        locality=pb.Locality(zone=zone, node="n1" if zone else ""),
        health=pb.HEALTH_READY,
    )


@dataclass
class Balancer:
    """The stub.

    Attributes:
        lists: The answers of GetServers, by name.
        explanations: The answers of Explain, by name.
        absences: What else Explain says of a service that is not known, by name.
        summaries: What ListServices answers with.
        refusal: A status to refuse every call with.
        items: What watches send next: a message, a status to fail with, None to end with OK.
        asked: The names that were asked for.
        requests: Every request as it came.
        tokens: The authorization that came with each.
    """

    lists: dict[str, pb.GetServersResponse] = field(default_factory=dict)
    explanations: dict[str, pb.ExplainResponse] = field(default_factory=dict)
    absences: dict[str, str] = field(default_factory=dict)
    summaries: list[pb.ServiceSummary] = field(default_factory=list)
    refusal: tuple[grpc.StatusCode, str] | None = None
    items: queue.Queue[Item] = field(default_factory=queue.Queue)
    asked: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    _asked: threading.Condition = field(default_factory=threading.Condition)
    port: int = 0
    credentials: grpc.ServerCredentials | None = None
    _server: grpc.Server | None = None
    _threads: ThreadPoolExecutor = field(default_factory=ThreadPoolExecutor)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._stopping.clear()
        self._threads = ThreadPoolExecutor(8)
        self._server = grpc.server(self._threads, options=[("grpc.so_reuseport", 0)])
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetServers": grpc.unary_unary_rpc_method_handler(
                self._get,
                pb.GetServersRequest.FromString,
                pb.GetServersResponse.SerializeToString,
            ),
            "Explain": grpc.unary_unary_rpc_method_handler(
                self._explain,
                pb.ExplainRequest.FromString,
                pb.ExplainResponse.SerializeToString,
            ),
            "ListServices": grpc.unary_unary_rpc_method_handler(
                self._list,
                pb.ListServicesRequest.FromString,
                pb.ListServicesResponse.SerializeToString,
            ),
            "WatchServers": grpc.unary_stream_rpc_method_handler(
                self._watch,
                pb.WatchServersRequest.FromString,
                pb.WatchServersResponse.SerializeToString,
            ),
        }
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("lookaside.LoadBalancer", handlers)]
        )
        self.port = self.port or reserve_port(self)
        if self.credentials is None:
            self._server.add_insecure_port(self.address)
        else:
            self._server.add_secure_port(self.address, self.credentials)
        self._server.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._server is not None:
            assert self._server.stop(0).wait(BOUND)
            self._server = None
        self._threads.shutdown()

    def send(self, *servers: pb.Server, state: pb.State = pb.STATE_PRESENT) -> None:
        self.items.put(
            pb.WatchServersResponse(servers=servers, state=state, service="greeter.shop")
        )

    def until_asked(self, times: int) -> None:
        with self._asked:
            assert self._asked.wait_for(lambda: len(self.asked) >= times, BOUND)

    def _note(self, request: Request, context: grpc.ServicerContext) -> None:
        with self._asked:
            self.requests.append(request)
            metadata = dict(context.invocation_metadata())
            self.tokens.append(str(metadata.get("authorization", "")))
            if not isinstance(request, pb.ListServicesRequest):
                self.asked.append(request.service_name)
            self._asked.notify_all()

    def _get(
        self, request: pb.GetServersRequest, context: grpc.ServicerContext
    ) -> pb.GetServersResponse:
        self._note(request, context)
        self._refuse(context)
        answer = self.lists.get(request.service_name)
        if answer is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"service {request.service_name} is not known")
        return answer

    def _explain(
        self, request: pb.ExplainRequest, context: grpc.ServicerContext
    ) -> pb.ExplainResponse:
        self._note(request, context)
        self._refuse(context)
        answer = self.explanations.get(request.service_name)
        if answer is None:
            more = self.absences.get(request.service_name, "")
            text = f"service {request.service_name} is not known{more}"
            context.abort(grpc.StatusCode.NOT_FOUND, text)
        return answer

    def _list(
        self, request: pb.ListServicesRequest, context: grpc.ServicerContext
    ) -> pb.ListServicesResponse:
        self._note(request, context)
        self._refuse(context)
        suffix = f".{request.namespace}" if request.namespace else ""
        return pb.ListServicesResponse(
            services=[each for each in self.summaries if each.service.endswith(suffix)]
        )

    def _watch(
        self, request: pb.WatchServersRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchServersResponse]:
        self._note(request, context)
        self._refuse(context)
        while context.is_active() and not self._stopping.is_set():
            try:
                item = self.items.get(timeout=0.02)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, tuple):
                context.abort(*item)
            yield item

    def _refuse(self, context: grpc.ServicerContext) -> None:
        if self.refusal is not None:
            context.abort(*self.refusal)


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    stub = Balancer()
    stub.start()
    yield stub
    stub.stop()


@pytest.fixture
def run(balancer: Balancer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command against the balancer."""
    monkeypatch.setenv("LOOKASIDE_ADDRESS", balancer.address)

    def invoke(*arguments: str) -> Result:
        result = CliRunner().invoke(main, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


class Process:
    """A command that runs on, and whose lines come one by one."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: dict[str, queue.Queue[str]] = {"out": queue.Queue(), "err": queue.Queue()}
        self._threads = [
            threading.Thread(target=self._read, args=each)
            for each in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def out(self) -> str:
        """The next line of stdout."""
        return self._next("out")

    def err(self) -> str:
        """The next line of stderr."""
        return self._next("err")

    def end(self, signal: int | None = None) -> int:
        """Send a signal, and return the exit code."""
        if signal is not None:
            self.process.send_signal(signal)
        return self.process.wait(BOUND)

    def rest(self, stream: str = "err") -> list[str]:
        """What is left of a stream after the end."""
        for thread in self._threads:
            thread.join(BOUND)
        return list(self._lines[stream].queue)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(BOUND)
        for thread in self._threads:
            thread.join(BOUND)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self, name: str, pipe: Iterator[str]) -> None:
        for line in pipe:
            self._lines[name].put(line.rstrip("\n"))

    def _next(self, name: str) -> str:
        try:
            return self._lines[name].get(timeout=BOUND)
        except queue.Empty:
            return self._silent(name)

    def _silent(self, name: str) -> NoReturn:
        other = list(self._lines["err" if name == "out" else "out"].queue)
        pytest.fail(f"no line on std{name}; the other stream has {other}")


@pytest.fixture
def start(balancer: Balancer) -> Iterator[Callable[..., Process]]:
    """Start a command against the balancer as a process of its own."""
    processes: list[Process] = []

    def begin(*arguments: str) -> Process:
        process = Process(arguments[0], "--address", balancer.address, *arguments[1:])
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.close()
