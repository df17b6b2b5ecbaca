"""Keeps a watch open at the balancer, on a thread of its own."""

import logging
import threading
from typing import Protocol

import grpc
import grpc.experimental

from client_resolver._pb import lookaside_pb2_grpc
from client_resolver.core.delta import Delta, UnknownBase
from client_resolver.core.model import Revision, ServerList
from client_resolver.core.watch import Lost
from client_resolver.settings import Settings
from client_resolver.sync.connection import open_channel
from client_resolver.wire import read

__all__ = ["Watcher"]

_logger = logging.getLogger("client_resolver")


class Flow(Protocol):
    """What decides over a watch: see `client_resolver.core.watch.Watch`."""

    def begun(self) -> Revision | None:
        """Take in that a watch begins. Return what to name as known."""

    def received(self, message: ServerList | Delta) -> None:
        """Take in a message.

        Raises:
            UnknownBase: The watch must be begun anew.
        """

    def lost(self, code: str, details: str) -> Lost:
        """Take in that the watch has ended."""


class Watcher:
    """Asks the balancer again and again until it is closed.

    Args:
        settings: The channel's settings.
        flow: Is told of every event and says what follows.
        stop: Set when the watch is to end.
    """

    def __init__(self, settings: Settings, flow: Flow, stop: threading.Event) -> None:
        self._settings = settings
        self._flow = flow
        self._stop = stop
        self._channel = open_channel(
            settings.balancer_target,
            settings.balancer_credentials,
            # The watch is read by one thread alone: grpc needs none of its own for it.
            (
                *settings.balancer_options,
                (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
            ),
        )

    def run(self) -> None:
        """Watch until `stop` is set. For a thread of its own."""
        try:
            stub = lookaside_pb2_grpc.LoadBalancerStub(self._channel)
            while not self._stop.is_set():
                code, details = self._read(stub)
                if self._stop.is_set():
                    return
                lost = self._flow.lost(code, details)
                level = logging.DEBUG if lost.expected else logging.WARNING
                _logger.log(level, self._settings.explain(lost.text))
                self._stop.wait(lost.delay)
        finally:
            self._channel.close()

    def close(self) -> None:
        """End the watch that is open. `stop` is to be set before."""
        # Rather than cancel the call: a cancelled call that no thread reads keeps its socket.
        self._channel.close()

    def _read(self, stub: lookaside_pb2_grpc.LoadBalancerStub) -> tuple[str, str]:
        misfit = ""
        try:
            call = stub.WatchServers(self._settings.request(self._flow.begun()))
            for message in call:
                if not misfit:
                    try:
                        self._received(read(message))
                    except UnknownBase as error:
                        misfit = str(error)
                        # The loop goes on to the end that this brings: see `close`.
                        call.cancel()
        except grpc.RpcError as error:
            return ("ABORTED", misfit) if misfit else (error.code().name, error.details() or "")
        except ValueError:
            # `close` came between two attempts.
            return "CANCELLED", "the channel is closed"
        return ("ABORTED", misfit) if misfit else ("OK", "the balancer ended the watch")

    def _received(self, message: ServerList | Delta) -> None:
        listed = message.changed if isinstance(message, Delta) else message
        for one in listed.set_aside:
            _logger.warning(self._settings.explain(f"set aside: {one.reason}"))
        self._flow.received(message)
