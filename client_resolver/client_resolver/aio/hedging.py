"""Attempts at one RPC side by side on several backends: the first answer counts."""

# The arguments are those of grpc, in its order.
# ruff: noqa: ANN401, PLR0917

import asyncio
from typing import Any

import grpc

from client_resolver.aio.attempt import Attempt
from client_resolver.aio.attempts import Attempts
from client_resolver.aio.connection import Connection
from client_resolver.aio.method import Method
from client_resolver.call.accounting import Rpc
from client_resolver.core.hedging import HedgeState, Verdict

__all__ = ["HedgedAttempts"]


class HedgedAttempts(Attempts):
    """Joins an attempt that takes its time by another (gRFC A6).

    See `Attempts` for the arguments.
    """

    __slots__ = ("_hedges", "_next")

    def __init__(
        self,
        method: Method[Any],
        request: object,
        timeout: float | None,
        metadata: Any,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
        rpc: Rpc[Connection] | None = None,
    ) -> None:
        super().__init__(
            method, request, timeout, metadata, credentials, wait_for_ready, compression, rpc
        )
        hedges = self.rpc.hedges
        assert hedges is not None  # noqa: S101
        self._hedges: HedgeState = hedges
        self._next: asyncio.TimerHandle | None = None

    def _begin(self) -> None:
        self._grant()

    def _grant(self) -> None:
        """Start all attempts that may start now, and set the time for the next one."""
        while self._may_start() and self.rpc.hedge(self.loop.time()):
            self._unplaced += 1
            self._place()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._hedges.next_at is not None and self._may_start():
            self._next = self.loop.call_at(self._hedges.next_at, self._due)

    def _may_start(self) -> bool:
        return self.outcome is None and self._repeatable()

    def _due(self) -> None:
        self._next = None
        self._guard(self._grant)

    def _failed(self, attempt: Attempt) -> None:
        code = attempt.code or grpc.StatusCode.CANCELLED
        verdict = self.rpc.hedge_failed(attempt.trial, code.name, attempt.details, attempt.trailing)
        if verdict is not Verdict.FINAL:
            self._guard(self._grant)
        if self.outcome is None and (verdict is Verdict.FINAL or self._hedges.over):
            self._settle(attempt)

    def _let_go(self, chosen: Attempt | None) -> None:
        super()._let_go(chosen)
        if self._next is not None:
            self._next.cancel()
            self._next = None
