"""One attempt at an RPC: grpc's own call on a backend, and what is told of its end."""

# `inner` is one of four kinds of call of grpc's that have no type in common.
# ruff: noqa: ANN401

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import grpc

from client_resolver.aio.connection import Backend, Connection, peek
from client_resolver.aio.driver import Driver
from client_resolver.aio.requests import Reader
from client_resolver.call.accounting import Trial
from client_resolver.core.replay import Evidence, weigh

__all__ = ["LOCALLY_CANCELLED", "Attempt", "Failed", "evidence_of"]

T = TypeVar("T")

LOCALLY_CANCELLED: Final = "Locally cancelled by application!"
"""What grpc says of a call that was cancelled here."""

_UNSENT_REQUEST = "Internal error from Core"
_BROKEN_OFF = "the connection was lost before the end of the requests was sent"
_LOOKS = (0.0, 0.001, 0.004, 0.015, 0.06, 0.25)
"""Seconds between looks at a call whose status is to come."""


class Owner(Protocol):
    """Whose attempts they are."""

    driver: Driver
    loop: asyncio.AbstractEventLoop

    @property
    def sends(self) -> bool:
        """Whether it streams requests, wants their answer, and nothing else has stopped it."""

    def finished(self, attempt: "Attempt") -> None:
        """Take in that an attempt's call has ended."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that was made without `Attempts`, and has ended and failed.

    Attributes:
        inner: grpc's call.
        backend: Where.
        channel: On which of its channels.
        message: Its request, serialized, if it has but one.
        trial: What the RPC knows of it. None: the RPC knows nothing yet.
        final: No other attempt may follow.
    """

    inner: Any
    backend: Backend
    channel: grpc.aio.Channel
    message: object
    trial: Trial[Connection] | None = None
    final: bool = False


class Attempt:
    """An RPC on one backend.

    `inner` is grpc's call, of one of four kinds that have no type in common.

    Attributes:
        ended: Its call has ended.
        code: How it ended. None: it has not, or that is still to come.
        details: The text of the status that it ended with, if it failed.
        initial: The initial metadata that it had, if it failed.
        trailing: The trailing metadata that it ended with, if it failed.
        expired: It was given up after the policy's time for an attempt.
        lost: Another one counts.
        read: Its first response was waited for, and came or will not.
        reader: What it reads the requests by. None: it has one request.
    """

    __slots__ = (
        "_timer",
        "channel",
        "code",
        "details",
        "ended",
        "expired",
        "initial",
        "inner",
        "lost",
        "owner",
        "read",
        "reader",
        "trailing",
        "trial",
    )

    def __init__(
        self,
        owner: Owner,
        trial: Trial[Connection],
        channel: grpc.aio.Channel,
        inner: Any,
        reader: Reader | None,
    ) -> None:
        self.owner = owner
        self.trial = trial
        self.channel = channel
        self.inner = inner
        self.reader = reader
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.initial: grpc.aio.Metadata | None = None
        self.trailing: grpc.aio.Metadata | None = None
        self.ended = False
        self.expired = False
        self.lost = False
        self.read = False
        self._timer: asyncio.TimerHandle | None = None

    def expire_after(self, seconds: float) -> None:
        """Give it up after so many seconds, unless `keep` is called before."""
        self._timer = self.owner.loop.call_later(seconds, self._expire)

    def keep(self) -> None:
        """Give it all the time that it needs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def lose(self) -> None:
        """Give it up for another one."""
        self.lost = True
        self.inner.cancel()

    def take_status(self, then: Callable[[], None]) -> None:
        """Keep what grpc's call has ended with, and go on with `then`."""
        self.ended = True
        self.keep()
        self._take_status(then, iter(_LOOKS))

    def _take_status(self, then: Callable[[], None], looks: Iterator[float]) -> None:
        inner = self.inner
        code = peek(inner.code())
        if code is not grpc.StatusCode.OK:
            self.details = peek(inner.details()) or ""
            # A server may end a call before it has been sent all requests. grpc then says that one
            # could not be sent, and has what the server said in one of the loop's next turns.
            if self.details == _UNSENT_REQUEST and (pause := next(looks, None)) is not None:
                self._timer = self.owner.loop.call_later(pause, self._take_status, then, looks)
                return
            if self._broke_off(code):
                code, self.details = grpc.StatusCode.UNAVAILABLE, _BROKEN_OFF
            self.initial = peek(inner.initial_metadata())
            self.trailing = peek(inner.trailing_metadata())
        self.code = code
        then()

    def _broke_off(self, code: grpc.StatusCode | None) -> bool:
        """Whether grpc cancelled the call: it does where the end of the requests can't be sent."""
        return (
            code is grpc.StatusCode.CANCELLED
            and self.details == LOCALLY_CANCELLED
            and not (self.lost or self.expired)
            and self.owner.sends
        )

    def finished(self, _inner: object) -> None:
        """Take in that grpc's call has ended."""
        if not self.ended:
            self.take_status(self._finish)

    def _finish(self) -> None:
        owner, backend = self.owner, self.trial.backend
        backend.in_flight.pop()
        if backend.draining and not backend.in_flight:
            owner.driver.drained(backend)
        owner.finished(self)

    def _expire(self) -> None:
        self._timer = None
        self.expired = True
        self.inner.cancel()


def evidence_of(code: grpc.StatusCode, inner: Any, backend: Backend) -> Evidence:
    """Say what a call that has failed on a backend is evidence of."""
    return weigh(
        code.name,
        peek(inner.details()) or "",
        metadata=bool(peek(inner.initial_metadata()) or peek(inner.trailing_metadata())),
        address=backend.endpoint.address,
    )
