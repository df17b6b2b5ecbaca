"""Calls that run all the time, by a sync and an aio client, and who answered them."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Final, Self

import grpc

import client_resolver
from lookaside.demo._pb import greeter_pb2 as pb
from lookaside.demo.backend import GRACE_SECONDS
from tests.cluster.figures import record

WORKERS: Final = 4
MOST_CALLS: Final = 200_000
LONGEST: Final = 100.0
_PAUSE: Final = 0.004
_CALL_TIMEOUT: Final = GRACE_SECONDS + 5
_END_TIMEOUT: Final = 20.0
_METHOD: Final = "/greeter.Greeter/SayHello"
_REQUEST: Final = pb.HelloRequest(name="cluster")


class Traffic(ABC):
    """Calls of one client until the context ends; no more than so many, and not for longer.

    Args:
        target: What the client dials.

    Attributes:
        slowest: How long the slowest answered call took, in seconds.
        lost: How many calls were lost in servers that stopped; see `is_lost`.
    """

    kind = ""

    def __init__(self, target: str) -> None:
        self.target = target
        self.slowest = 0.0
        self.lost = 0
        self._told = threading.Condition()
        self._answers: list[str] = []
        self._first: dict[str, float] = {}
        self._failures: list[str] = []
        self._stop = threading.Event()
        self._deadline = time.monotonic() + LONGEST
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._threads = self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_END_TIMEOUT)
        assert not any(thread.is_alive() for thread in self._threads), f"{self.kind} did not end"

    @property
    def calls(self) -> int:
        """How many calls were answered."""
        with self._told:
            return len(self._answers)

    @property
    def failures(self) -> list[str]:
        """What was said of the calls that failed."""
        with self._told:
            return list(self._failures)

    def next(self, count: int, timeout: float = 60) -> Counter[str]:
        """Wait for the next answers, and give how many of them each backend gave.

        Raises:
            AssertionError: A call has failed, or the answers did not come in time.
        """
        with self._told:
            start = len(self._answers)
            self._told.wait_for(
                lambda: self._failures or len(self._answers) >= start + count, timeout
            )
            assert not self._failures, f"{self.kind}: {self._failures[:5]}"
            assert len(self._answers) >= start + count, f"{self.kind}: {len(self._answers)} answers"
            return Counter(self._answers[start : start + count])

    def reach(self, target: str, timeout: float = 60) -> float:
        """Wait for the first answer of a backend, and give its time on the monotonic clock.

        Raises:
            AssertionError: A call has failed, or it did not answer in time.
        """
        with self._told:
            self._told.wait_for(lambda: self._failures or target in self._first, timeout)
            assert not self._failures, f"{self.kind}: {self._failures[:5]}"
            assert target in self._first, f"{self.kind}: no answer of {target}"
            return self._first[target]

    def settle(self, targets: Collection[str], count: int = 100, timeout: float = 60) -> None:
        """Wait until the next answers are from just these backends, and evenly.

        Raises:
            AssertionError: A call has failed, or it did not settle in time.
        """
        deadline = time.monotonic() + timeout
        answers = self.next(count, timeout)
        while not is_even(answers, targets):
            assert time.monotonic() < deadline, f"{self.kind}: {answers}, not even on {targets}"
            answers = self.next(count, timeout)

    @abstractmethod
    def _start(self) -> list[threading.Thread]:
        """Start the workers."""

    def _goes_on(self) -> bool:
        return (
            not self._stop.is_set()
            and time.monotonic() < self._deadline
            and self.calls < MOST_CALLS
        )

    def _answered(self, reply: pb.HelloReply, began: float) -> None:
        now = time.monotonic()
        with self._told:
            self.slowest = max(self.slowest, now - began)
            self._first.setdefault(reply.backend, now)
            self._answers.append(reply.backend)
            self._told.notify_all()

    def _failed(self, error: grpc.RpcError, began: float) -> None:
        took = time.monotonic() - began
        with self._told:
            if is_lost(error, took):
                self.lost += 1
                return
            self._failures.append(f"{error.code().name} after {took:.3f} s: {error.details()}")
            self._told.notify_all()


class SyncTraffic(Traffic):
    """Calls over one channel of `client_resolver.insecure_channel`, of several threads."""

    kind = "sync"

    def _start(self) -> list[threading.Thread]:
        owner = threading.Thread(target=self._run, name=f"{self.kind} traffic", daemon=True)
        owner.start()
        return [owner]

    def _run(self) -> None:
        with client_resolver.insecure_channel(self.target) as channel:
            workers = [
                threading.Thread(target=self._work, args=(channel,), daemon=True)
                for _ in range(WORKERS)
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

    def _work(self, channel: grpc.Channel) -> None:
        call = channel.unary_unary(
            _METHOD,
            request_serializer=pb.HelloRequest.SerializeToString,
            response_deserializer=pb.HelloReply.FromString,
        )
        while self._goes_on():
            began = time.monotonic()
            try:
                self._answered(call(_REQUEST, timeout=_CALL_TIMEOUT), began)
            except grpc.RpcError as error:
                self._failed(error, began)
            self._stop.wait(_PAUSE)


class AioTraffic(Traffic):
    """Calls over one channel of `client_resolver.aio.insecure_channel`, of several tasks."""

    kind = "aio"

    def _start(self) -> list[threading.Thread]:
        loop = threading.Thread(
            target=lambda: asyncio.run(self._run()), name=f"{self.kind} traffic", daemon=True
        )
        loop.start()
        return [loop]

    async def _run(self) -> None:
        async with client_resolver.aio.insecure_channel(self.target) as channel:
            await asyncio.gather(*(self._work(channel) for _ in range(WORKERS)))

    async def _work(self, channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary(
            _METHOD,
            request_serializer=pb.HelloRequest.SerializeToString,
            response_deserializer=pb.HelloReply.FromString,
        )
        while self._goes_on():
            began = time.monotonic()
            try:
                self._answered(await call(_REQUEST, timeout=_CALL_TIMEOUT), began)
            except grpc.RpcError as error:
                self._failed(error, began)
            await asyncio.sleep(_PAUSE)


class Clients:
    """A sync and an aio client that call at the same time."""

    def __init__(self, *clients: Traffic) -> None:
        self.clients = clients

    def next(self, count: int) -> None:
        """Wait until each has had so many answers more."""
        for client in self.clients:
            client.next(count)

    def reach(self, target: str) -> float:
        """Wait until each has had an answer of a backend, and give the time of the last."""
        return max(client.reach(target) for client in self.clients)

    def settle(self, targets: Collection[str]) -> None:
        """Wait until each has its answers from just these backends, and evenly."""
        for client in self.clients:
            client.settle(targets)

    @property
    def summary(self) -> str:
        """What has become of the calls, in words."""
        return "; ".join(
            f"{client.kind} {client.calls} answered, {len(client.failures)} failed, "
            + (f"{client.lost} lost in servers that stopped, " if client.lost else "")
            + f"slowest {1000 * client.slowest:.0f} ms"
            for client in self.clients
        )


@contextmanager
def calling(address: str, service: str, about: str, *, may_lose: int = 0) -> Iterator[Clients]:
    """Have both kinds of client call a service; none of their calls may fail until the end.

    Args:
        address: HOST:PORT of the balancer.
        service: The service's name.
        about: What is tested, for the figures.
        may_lose: How many calls of each client may be lost in servers that stop; see `is_lost`.

    Raises:
        AssertionError: A call has failed.
    """
    target = f"lookaside://{address}/{service}"
    with ExitStack() as stack:
        clients = [stack.enter_context(kind(target)) for kind in (SyncTraffic, AioTraffic)]
        yield Clients(*clients)
    record(f"{about}: {Clients(*clients).summary}")
    for client in clients:
        assert client.failures == [], client.kind
        assert client.lost <= may_lose, f"{client.kind}: {client.lost} calls were lost"


def is_lost(error: grpc.RpcError, took: float) -> bool:
    """Say whether a call was lost in a server of gRPC's as that began to stop.

    About once in 150 stops under load such a server takes up a call and gives it to no handler: it
    closes the connection over it, or holds it until its grace is over. No client can tell that from
    a handler that was cut off, so none may send the call again. A Pod that serves on for a moment
    after it was told to end, as by a preStop hook that sleeps, loses none.
    """
    details = error.details() or ""
    cut_off = "Socket closed (GOAWAY received; Error code: 0" in details
    held = details == "Cancelling all calls" and took >= GRACE_SECONDS
    return error.code() is grpc.StatusCode.UNAVAILABLE and (cut_off or held)


def is_even(answers: Counter[str], targets: Collection[str]) -> bool:
    """Say whether answers are from just these backends, as even as calls in flight allow."""
    if answers.keys() != set(targets):
        return False
    return max(answers.values()) - min(answers.values()) <= WORKERS + len(targets)
