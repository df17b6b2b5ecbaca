"""The process whose instructions are counted: the RPCs of each row, each row between two marks."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module

import grpc

import client_resolver
from benchmarks.overhead.backends import METHOD, backends
from benchmarks.overhead.subjects import CONTROL, SIDECAR, Subject, subjects

__all__ = ["MARK", "NAMES"]

MARK = "getloadavg"
"""A function of C that nothing else calls: there callgrind writes what it has counted."""

_BACKENDS = 3
_WARM = 300
_REQUEST = b"x" * 64
_CONFIGS: Mapping[str, Mapping[str, object]] = {
    "defaults, timeout": {"methodConfig": [{"name": [{}], "timeout": "20s"}]},
    "defaults, limits": {"circuitBreaker": {"maxRequests": 1000}},
}


def _rows(shell: str, addresses: Sequence[str]) -> dict[str, Subject]:
    rows = subjects(shell, addresses, 0)
    # grpc's own call is stubbed, so all channels of its own cost the same.
    for name in (CONTROL, "C-core's round_robin", SIDECAR):
        del rows[name]
    ours = client_resolver if shell == "sync" else client_resolver.aio
    target = f"static:///{','.join(addresses)}"
    for name, config in _CONFIGS.items():
        rows[name] = partial(ours.insecure_channel, target, service_config=config)
    return rows


NAMES: Sequence[str] = tuple(_rows("sync", ["127.0.0.1:1"]))
"""The rows."""


def main(shell: str, rpcs: str, *names: str) -> None:
    """Make the RPCs of these rows."""
    with backends(_BACKENDS) as addresses:
        rows = _rows(shell, addresses)
        chosen = [rows[name] for name in names]
        if shell == "sync":
            _sync(chosen, int(rpcs))
        else:
            asyncio.run(_aio(chosen, int(rpcs)))


def _sync(rows: Sequence[Subject], rpcs: int) -> None:
    channels = [make() for make in rows]
    calls = [channel.unary_unary(METHOD) for channel in channels]
    for call in calls:
        for _ in range(_WARM):
            call(_REQUEST, timeout=60, wait_for_ready=True)
    _stub("grpc._channel", "_UnaryUnaryMultiCallable", _answer)
    for call in calls:
        call(_REQUEST)
        with _counted():
            for _ in range(rpcs):
                call(_REQUEST)
    for channel in channels:
        channel.close()


async def _aio(rows: Sequence[Subject], rpcs: int) -> None:
    channels = [make() for make in rows]
    calls = [channel.unary_unary(METHOD) for channel in channels]
    for call in calls:
        for _ in range(_WARM):
            await call(_REQUEST, timeout=60, wait_for_ready=True)
    _stub("grpc.aio._channel", "UnaryUnaryMultiCallable", _begin)
    for call in calls:
        await call(_REQUEST)
        with _counted():
            for _ in range(rpcs):
                await call(_REQUEST)
    for channel in channels:
        await channel.close()


def _stub(module: str, name: str, call: Callable[..., object]) -> None:
    """Have grpc's multicallables do no more than this."""
    getattr(import_module(module), name).__call__ = call


@contextmanager
def _counted() -> Iterator[None]:
    # When the garbage is collected depends on the rows before.
    gc.collect()
    gc.disable()
    os.getloadavg()
    yield
    os.getloadavg()
    gc.enable()


def _answer(_multicallable: object, request: bytes, *_args: object) -> bytes:
    return request


def _begin(_multicallable: object, request: bytes, **_args: object) -> "_Call":
    return _Call(request)


class _Call:
    """Stands for a call of grpc.aio's: it is answered when it is awaited."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._callbacks: list[Callable[[object], None]] = []

    def add_done_callback(self, callback: Callable[[object], None]) -> None:
        self._callbacks.append(callback)

    def __await__(self) -> Generator[None, None, bytes]:
        yield from ()
        for callback in self._callbacks:
            callback(self)
        return self._answer

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    def done(self) -> bool:
        return True


if __name__ == "__main__":
    main(*sys.argv[1:])
