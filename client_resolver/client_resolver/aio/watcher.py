"""Keeps a watch open at the balancer."""

import asyncio
import logging
from typing import Protocol, TypeAlias

import grpc

from client_resolver._pb import lookaside_pb2, lookaside_pb2_grpc
from client_resolver.aio.connection import open_channel
from client_resolver.core.delta import Delta, UnknownBase
from client_resolver.core.model import Revision, ServerList
from client_resolver.core.watch import Lost
from client_resolver.settings import Settings
from client_resolver.wire import read

__all__ = ["watch"]

_logger = logging.getLogger("client_resolver")

WatchCall: TypeAlias = grpc.aio.UnaryStreamCall[
    lookaside_pb2.WatchServersRequest, lookaside_pb2.WatchServersResponse
]


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


async def watch(settings: Settings, flow: Flow) -> None:
    """Ask the balancer again and again until cancelled.

    Args:
        settings: The channel's settings.
        flow: Is told of every event and says what follows.
    """
    channel = open_channel(
        settings.balancer_target, settings.balancer_credentials, settings.balancer_options
    )
    async with channel:
        stub = lookaside_pb2_grpc.LoadBalancerStub(channel)
        while True:
            call: WatchCall = stub.WatchServers(settings.request(flow.begun()))
            try:
                async for message in call:
                    _received(settings, flow, read(message))
                code, details = "OK", "the balancer ended the watch"
            except grpc.aio.AioRpcError as error:
                code, details = error.code().name, error.details() or ""
            except UnknownBase as error:
                code, details = "ABORTED", str(error)
            finally:
                call.cancel()
            lost = flow.lost(code, details)
            level = logging.DEBUG if lost.expected else logging.WARNING
            _logger.log(level, settings.explain(lost.text))
            await asyncio.sleep(lost.delay)


def _received(settings: Settings, flow: Flow, message: ServerList | Delta) -> None:
    listed = message.changed if isinstance(message, Delta) else message
    for one in listed.set_aside:
        _logger.warning(settings.explain(f"set aside: {one.reason}"))
    flow.received(message)
