"""Keeps a watch open at one of the balancers, on a thread of its own."""

import threading
from typing import NamedTuple, TypeAlias

import grpc
import grpc.experimental

from client_resolver._pb import lookaside_pb2
from client_resolver.config.settings import Settings
from client_resolver.core.balancers import Balancers
from client_resolver.core.delta import UnknownBase
from client_resolver.core.model import Code
from client_resolver.core.watch import ListSink
from client_resolver.resolver.bearer_token import TokenError, authorization
from client_resolver.resolver.messages import read, watch_on
from client_resolver.sync.connection import open_channel
from client_resolver.telemetry.log import ChannelLog, reason, unusable

__all__ = ["Watcher"]

_Watch: TypeAlias = "grpc.UnaryStreamMultiCallable[lookaside_pb2.WatchServersRequest, bytes]"


class Watcher:
    """Asks the balancers, one at a time, until it is closed.

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
        self._opening = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._closed = threading.Event()
        self._wake = threading.Event()

    def run(self) -> None:
        """Watch until `close` or `stop`, which alone end it. For a thread of its own."""
        try:
            while not self._closed.is_set():
                ended = self._watch()
                if self._closed.is_set():
                    return
                details = self._balancers.place(ended.details)
                lost = self._sink.lost(ended.code, details, misread=ended.misread)
                self._log.lost(lost)
                if self._balancers.move_on():
                    self._shut()
                self._wake.clear()
                if not self._closed.is_set():
                    self._wake.wait(self._balancers.wait(lost.delay))
        finally:
            self._shut()

    def resolve_now(self) -> None:
        """Try again at once where a watch was lost."""
        self._wake.set()

    def stop(self) -> None:
        """Have `run` return when the watch that is open has ended. Waits for nothing."""
        self._closed.set()
        self._wake.set()

    def close(self) -> None:
        """Have `run` return now."""
        self.stop()
        # Rather than cancel the call: a cancelled call that no thread reads keeps its socket.
        self._shut()

    def _open(self) -> grpc.Channel | None:
        with self._opening:
            if self._closed.is_set():
                return None
            if self._channel is None:
                self._channel = open_channel(
                    self._balancers.current.target,
                    self._settings.balancer_credentials,
                    # The watch is read by one thread alone: grpc needs none of its own for it.
                    (
                        *self._settings.balancer_options,
                        (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
                    ),
                )
            return self._channel

    def _shut(self) -> None:
        with self._opening:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _watch(self) -> "_Ended":
        ending = _Ending()
        try:
            self._read(ending)
        except TokenError as error:
            return _Ended(Code.UNAVAILABLE, str(error))
        except grpc.RpcError as error:
            return ending.why or _Ended(Code[error.code().name], error.details() or "")
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
            return _Ended(Code.INTERNAL, reason(error))
        finally:
            ending.calm()
        return ending.why or _Ended(Code.OK, "the balancer ended the watch")

    def _read(self, ending: "_Ending") -> None:
        metadata = authorization(self._settings.balancer_token)
        channel = self._open()
        if channel is None:
            return
        known = self._sink.begun()
        watch: _Watch = watch_on(channel)
        call = watch(self._settings.request(known), metadata=metadata)
        ending.follow(call, self._patience if known is None else None)
        for message in call:
            ending.calm()
            if ending.why is None:
                self._received(message, ending)

    def _received(self, message: bytes, ending: "_Ending") -> None:
        try:
            told = read(message)
            self._log.set_aside(told)
            self._sink.received(told)
        except UnknownBase as error:
            ending.cancel(_Ended(Code.ABORTED, str(error)))
        except Exception as error:  # noqa: BLE001 - nothing that a balancer sends ends following it
            ending.cancel(_Ended(Code.INTERNAL, unusable(error), misread=True))


class _Ended(NamedTuple):
    code: Code
    details: str
    misread: bool = False


class _Ending:
    """Cancels one watch and keeps the reason. Its reader goes on to the end that this brings."""

    def __init__(self) -> None:
        self.why: _Ended | None = None
        self._call: grpc.RpcContext | None = None
        self._timer: threading.Timer | None = None

    def follow(self, call: grpc.RpcContext, patience: float | None) -> None:
        """A watch started. Cancel it after `patience` seconds unless `calm` is called first."""
        self._call = call
        if patience is not None:
            why = _Ended(Code.DEADLINE_EXCEEDED, f"no answer within {patience:g} s")
            self._timer = threading.Timer(patience, self.cancel, [why])
            self._timer.daemon = True
            self._timer.start()

    def calm(self) -> None:
        """The balancer has answered."""
        if self._timer is not None:
            self._timer.cancel()

    def cancel(self, why: _Ended) -> None:
        """Cancel the watch for a reason."""
        self.why = why
        if self._call is not None:
            self._call.cancel()
