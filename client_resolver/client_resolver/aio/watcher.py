"""Keeps a watch open at one of the balancers."""

import asyncio
from contextlib import suppress
from typing import NamedTuple, TypeAlias

import grpc

from client_resolver._pb import lookaside_pb2
from client_resolver.aio.connection import open_channel
from client_resolver.config.settings import Settings
from client_resolver.core.balancers import Balancers
from client_resolver.core.delta import UnknownBase
from client_resolver.core.model import Code
from client_resolver.core.watch import ListSink
from client_resolver.resolver.bearer_token import TokenError, authorization
from client_resolver.resolver.messages import read, watch_on
from client_resolver.telemetry.log import ChannelLog, reason, unusable

__all__ = ["Watcher"]

_Watch: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[lookaside_pb2.WatchServersRequest, bytes]"


class Watcher:
    """Asks the balancers, one at a time, until it is cancelled.

    Args:
        settings: The channel's settings.
        balancers: Who is asked.
        sink: Receives every event and says what follows.
        first_message: Seconds that one of several balancers has to say something.
    """

    def __init__(
        self,
        settings: Settings,
        balancers: Balancers,
        sink: ListSink,
        first_message: float,
    ) -> None:
        self._settings = settings
        self._balancers = balancers
        self._sink = sink
        self._patience = first_message if len(balancers) > 1 else None
        self._log = ChannelLog(settings.target.text)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled. Nothing else ends it."""
        while True:
            try:
                channel = open_channel(
                    self._balancers.current.target,
                    self._settings.balancer_credentials,
                    self._settings.balancer_options,
                )
                async with channel:
                    delay = await self._ask(watch_on(channel))
            except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
                delay = self._lost(_Ended(Code.INTERNAL, reason(error)))
            await self._pause(delay)

    def resolve_now(self) -> None:
        """Try again at once where a watch was lost."""
        self._wake.set()

    async def _ask(self, watch: _Watch) -> float:
        """Ask one balancer until it is another's turn. Return the seconds until then."""
        while True:
            ended = await self._read(watch)
            delay = self._lost(ended)
            if len(self._balancers) > 1:
                return delay
            await self._pause(delay)

    def _lost(self, ended: "_Ended") -> float:
        """A watch ended. Return the seconds until the next one."""
        details = self._balancers.place(ended.details)
        lost = self._sink.lost(ended.code, details, misread=ended.misread)
        self._log.lost(lost)
        self._balancers.move_on()
        return self._balancers.wait(lost.delay)

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        # Not `wait_for`: on Python 3.11, it may swallow a cancellation.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _authorization(self) -> tuple[tuple[str, str], ...]:
        token = self._settings.balancer_token
        if token is None or isinstance(token, str):
            return authorization(token)
        # A file or a callable of the user's may make one wait.
        return await asyncio.to_thread(authorization, token)

    async def _read(self, watch: _Watch) -> "_Ended":
        try:
            metadata = await self._authorization()
        except TokenError as error:
            return _Ended(Code.UNAVAILABLE, str(error))
        known = self._sink.begun()
        call = watch(self._settings.request(known), metadata=metadata)
        try:
            async with asyncio.timeout(self._patience if known is None else None) as patience:
                async for message in call:
                    patience.reschedule(None)
                    self._received(message)
        except grpc.aio.AioRpcError as error:
            return _Ended(Code[error.code().name], error.details() or "")
        except TimeoutError:
            return _Ended(Code.DEADLINE_EXCEEDED, f"no answer within {self._patience:g} s")
        except UnknownBase as error:
            return _Ended(Code.ABORTED, str(error))
        except Exception as error:  # noqa: BLE001 - nothing that a balancer sends ends following it
            return _Ended(Code.INTERNAL, unusable(error), misread=True)
        finally:
            call.cancel()
        return _Ended(Code.OK, "the balancer ended the watch")

    def _received(self, message: bytes) -> None:
        told = read(message)
        self._log.set_aside(told)
        self._sink.received(told)


class _Ended(NamedTuple):
    code: Code
    details: str
    misread: bool = False
