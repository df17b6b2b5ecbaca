"""The HTTP server of the admin port."""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from lookaside.admin.connections import ConnectionBounds, Connections
from lookaside.admin.status import Status, render
from lookaside.config import Listen
from lookaside.errors import ListenError

_STOP_SECONDS = 2.0
# Longer than Prometheus and kubelets wait between two requests, as a rule.
_IDLE_SECONDS = 75.0
_BACKLOG = 128
_NO_STORE = {"Cache-Control": "no-store"}


class Exposition(Protocol):
    """A provider of metrics."""

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics as text, and its content type."""

    def malformed(self) -> None:
        """A request could not be read."""


class AdminServer:
    """Serves ``/metrics``, ``/livez``, ``/readyz`` and a status page at ``/``.

    ``/livez`` says that the event loop turns, and nothing of sources: a balancer that lost its
    source serves the last known lists, and a restart would lose them.

    Args:
        listen: Where to listen; port 0 lets the system choose.
        metrics: What ``/metrics`` shows.
        not_ready: Returns why the service is not ready, a line each; nothing if it is.
        lacking: Returns what it can't answer for though it is ready, a line each.
        status: Returns what the status page shows.
        bounds: What connections may take.
    """

    def __init__(
        self,
        listen: Listen,
        metrics: Exposition,
        *,
        not_ready: Callable[[], Sequence[str]],
        lacking: Callable[[], Sequence[str]],
        status: Callable[[], Awaitable[Status]],
        bounds: ConnectionBounds | None = None,
    ) -> None:
        self._listen = listen
        self._metrics = metrics
        self._not_ready = not_ready
        self._lacking = lacking
        self._status = status
        self._bounds = bounds or ConnectionBounds()
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._bound: int | None = None

    def __repr__(self) -> str:
        state = "stopped" if self._bound is None else f"port {self._bound}"
        return f"<AdminServer {self._listen} {state}>"

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            RuntimeError: It is not started.
        """
        if self._bound is None:
            raise RuntimeError("the admin server is not started")
        return self._bound

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ListenError: It can't listen there.
        """
        app = web.Application()
        app.router.add_get("/", self._serve_status)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/livez", self._serve_live)
        app.router.add_get("/readyz", self._serve_ready)
        runner = self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            logger=_logger(self._metrics),
            shutdown_timeout=_STOP_SECONDS,
            keepalive_timeout=_IDLE_SECONDS,
        )
        await runner.setup()
        connections = Connections(self._bounds, cast("web.Server", runner.server))
        try:
            self._listening = await self._listen_with(connections)
        except OSError as error:
            await self.stop()
            raise ListenError(
                f"admin {self._listen}: can't listen: {error.strerror or error}"
            ) from error
        self._bound = int(self._listening.sockets[0].getsockname()[1])

    async def _listen_with(self, connections: Connections) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if self._listen.host:
            return await loop.create_server(
                connections.make, self._listen.host, self._listen.port, backlog=_BACKLOG
            )
        return await loop.create_server(
            connections.make, sock=_every_address(self._listen.port), backlog=_BACKLOG
        )

    async def stop(self) -> None:
        """Stop listening and end what is open, within two seconds. May be called twice."""
        runner, self._runner, self._bound = self._runner, None, None
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()
        if runner is not None:
            await runner.cleanup()

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics.expose(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, **_NO_STORE})

    async def _serve_live(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers=_NO_STORE)

    async def _serve_ready(self, _request: web.Request) -> web.Response:
        reasons = self._not_ready()
        text = "".join(f"{line}\n" for line in reasons or ("ok", *self._lacking()))
        return web.Response(text=text, status=503 if reasons else 200, headers=_NO_STORE)

    async def _serve_status(self, _request: web.Request) -> web.Response:
        text = render(await self._status(), self._not_ready())
        return web.Response(text=text, headers=_NO_STORE)


def _logger(metrics: Exposition) -> logging.Logger:
    """Return what logs the errors of the server's own, and counts what callers do wrong.

    They get a 400. aiohttp logs that as an error with a traceback, so that one gRPC client on the
    wrong port would fill the log.
    """

    def is_own(record: logging.LogRecord) -> bool:
        malformed = bool(record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
        if malformed:
            metrics.malformed()
        return not malformed

    # One of its own: filters of a shared one would add up with each server.
    logger = logging.Logger("admin")  # noqa: LOG001
    logger.parent = logging.getLogger()
    logger.addFilter(is_own)
    return logger


def _every_address(port: int) -> socket.socket:
    """Listen on one socket for both families, so that port 0 is the same port in both."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            # IPv6 is compiled in and switched off.
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    return socket.create_server(("", port))
