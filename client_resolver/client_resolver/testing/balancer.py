"""A balancer that says what a test has set, and every change of it."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import grpc
import xxhash

from client_resolver._pb import lookaside_pb2, lookaside_pb2_grpc
from client_resolver.resolver import Server
from client_resolver.testing.backend import Backend
from client_resolver.testing.server import TIMEOUT, LoopbackServer

__all__ = ["Balancer"]

Listed = Backend | Server | str
"""A backend of the test's, a `Server` with more data, or `HOST:PORT`."""


class Balancer(LoopbackServer, lookaside_pb2_grpc.LoadBalancerServicer):
    """Lists backends to any caller. It listens as soon as it is created.

    It answers as Lookaside does: a watch receives the whole list at once and again after each
    change, a service that was never set doesn't exist, and a client that names the list that holds
    as known receives nothing. Names of services are compared as they are written. It leaves
    subsets, zones and weights to what the test says.

    Args:
        port: Where to listen. 0: on a port that is free.
        credentials: Of the server. None: no TLS.
        silent: Say nothing of services that were never set, as one does that has not yet read its
            source.

    Attributes:
        requests: The watches' requests, as they came: `lookaside.WatchServersRequest`.
        metadata: The metadata that came with each: tokens, say.
        watches: How many watches are open.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        credentials: grpc.ServerCredentials | None = None,
        silent: bool = False,
    ) -> None:
        self.requests: list[lookaside_pb2.WatchServersRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.watches = 0
        self._silent = silent
        self._changed = threading.Condition()
        self._lists: dict[str, lookaside_pb2.WatchServersResponse] = {}
        self._servers: dict[str, dict[str, Server]] = {}
        self._configs: dict[str, str] = {}
        self._version = 0
        self._error: tuple[grpc.StatusCode, str] | None = None
        self._ended = 0
        super().__init__(port, credentials)

    def target(self, service: str) -> str:
        """Return the target of a service at this balancer: `lookaside://127.0.0.1:PORT/SERVICE`."""
        return f"lookaside://{self.address}/{service}"

    def serve(
        self,
        service: str,
        backends: Iterable[Listed],
        *,
        weights: Sequence[int] | None = None,
        zones: Sequence[str] | None = None,
        service_config: str | Mapping[str, object] = "",
    ) -> None:
        """Set the list of a service. None in it: the service exists and has no backends.

        Args:
            service: Its name, as clients ask for it.
            backends: All of its backends.
            weights: One for each. None: equal ones.
            zones: One for each. None: unknown.
            service_config: What clients with none of their own are sent.

        Raises:
            ValueError: There are not as many weights or zones as backends.
        """
        servers = [_server(one) for one in backends]
        if weights is not None:
            servers = [replace(s, weight=w) for s, w in zip(servers, weights, strict=True)]
        if zones is not None:
            servers = [replace(s, zone=z) for s, z in zip(servers, zones, strict=True)]
        text = service_config if isinstance(service_config, str) else json.dumps(service_config)
        with self._changed:
            self._servers[service] = {server.address: server for server in servers}
            self._configs[service] = text
            self._relist(service)

    def add(self, service: str, *backends: Listed) -> None:
        """Add backends to the list of a service, or replace what is said of them."""
        with self._changed:
            servers = self._servers.setdefault(service, {})
            servers.update((server.address, server) for server in map(_server, backends))
            self._relist(service)

    def remove(self, service: str, *backends: Listed) -> None:
        """Take backends off the list of a service.

        Raises:
            KeyError: One is not on it.
        """
        with self._changed:
            for backend in backends:
                del self._servers[service][_server(backend).address]
            self._relist(service)

    def forget(self, service: str) -> None:
        """Say that a service doesn't exist."""
        with self._changed:
            self._servers.pop(service, None)
            self._configs.pop(service, None)
            self._lists[service] = _absent(service)
            self._changed.notify_all()

    def publish(self, service: str, message: lookaside_pb2.WatchServersResponse) -> None:
        """Say something of a service that `serve` has no words for: a delta, a stale list.

        Args:
            service: Its name. Empty: any service that was not set.
            message: The next message of every watch of it, and the first one of new watches.
        """
        with self._changed:
            self._lists[service] = message
            self._changed.notify_all()

    def fail(
        self,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        details: str = "as the test wants it",
    ) -> None:
        """End every watch with an error, and those to come as well, until `recover`."""
        with self._changed:
            self._error = (code, details)
            self._changed.notify_all()

    def recover(self) -> None:
        """Undo `fail`."""
        with self._changed:
            self._error = None
            self._changed.notify_all()

    def end_watches(self) -> None:
        """End the open watches with OK."""
        with self._changed:
            self._ended = len(self.requests)
            self._changed.notify_all()

    def wait_for_requests(self, count: int, timeout: float = TIMEOUT) -> None:
        """Wait until `count` watches have started.

        Raises:
            TimeoutError: They have not in `timeout` seconds.
        """
        self._wait(lambda: len(self.requests) >= count, timeout, f"{count} watches to be begun")

    def wait_for_watches(self, count: int, timeout: float = TIMEOUT) -> None:
        """Wait until exactly `count` watches are open.

        Raises:
            TimeoutError: They are not in `timeout` seconds.
        """
        self._wait(lambda: self.watches == count, timeout, f"{count} open watches")

    def WatchServers(  # noqa: N802
        self, request: lookaside_pb2.WatchServersRequest, context: grpc.ServicerContext
    ) -> Iterator[lookaside_pb2.WatchServersResponse]:
        """See `lookaside.LoadBalancer`."""
        context.add_callback(self._end_watches)
        with self._changed:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            self.watches += 1
            number = len(self.requests)
            said = self._held(request)
            self._changed.notify_all()

        def over() -> bool:
            return number <= self._ended or not (self.running and context.is_active())

        try:
            while True:
                with self._changed:
                    self._changed.wait_for(
                        lambda said=said: (  # type: ignore[misc]
                            self._error is not None
                            or self._list(request.service_name) is not said
                            or over()
                        )
                    )
                    said, error = self._list(request.service_name), self._error
                if over():
                    return
                if error is not None:
                    context.abort(*error)
                if said is not None:
                    yield said
        finally:
            with self._changed:
                self.watches -= 1
                self._changed.notify_all()

    def _register(self, server: grpc.Server) -> None:
        lookaside_pb2_grpc.add_LoadBalancerServicer_to_server(self, server)

    def _list(self, service: str) -> lookaside_pb2.WatchServersResponse | None:
        for name in (service, ""):
            if name in self._lists:
                return self._lists[name]
        if self._silent:
            return None
        return self._lists.setdefault(service, _absent(service))

    def _held(
        self, request: lookaside_pb2.WatchServersRequest
    ) -> lookaside_pb2.WatchServersResponse | None:
        """The list that the client has from an earlier watch, if it still holds."""
        listed = self._list(request.service_name)
        if listed is None or self._error is not None:
            return None
        digest = listed.revision.digest
        return listed if digest and request.known.digest == digest else None

    def _relist(self, service: str) -> None:
        self._version += 1
        servers = sorted(self._servers[service].values(), key=lambda server: server.address)
        message = lookaside_pb2.WatchServersResponse(
            servers=[
                lookaside_pb2.Server(
                    address=server.address,
                    weight=server.weight,
                    metadata=server.metadata,
                    locality=lookaside_pb2.Locality(zone=server.zone, node=server.node),
                )
                for server in servers
            ],
            state="STATE_PRESENT" if servers else "STATE_EMPTY",
            service=service,
            service_config=self._configs.get(service, ""),
        )
        content = message.SerializeToString(deterministic=True)
        message.revision.digest = xxhash.xxh64_hexdigest(content)
        message.revision.version = self._version
        message.revision.epoch = f"testing-{id(self):x}"
        self._lists[service] = message
        self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"{self!r} waited {timeout:g} s for {what}")

    def _end_watches(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _server(listed: Listed) -> Server:
    if isinstance(listed, Server):
        return listed
    return Server(listed if isinstance(listed, str) else listed.address)


def _absent(service: str) -> lookaside_pb2.WatchServersResponse:
    return lookaside_pb2.WatchServersResponse(state="STATE_ABSENT", service=service)
