"""What is compared: each subject is a way to make a channel to all backends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc

import client_resolver
from benchmarks.overhead.backends import METHOD

__all__ = ["SUBJECTS", "Subject"]

Subject = Callable[[Sequence[str]], AbstractAsyncContextManager[None]]
"""Makes a channel to backends, given as `IP:PORT`, and has it connect."""

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # A thousand addresses, which it is by default, are more than a server takes.
    ("grpc.default_authority", "backends"),
)
_ROUND_ROBIN = ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}')


def _sync(make: Callable[[Sequence[str]], grpc.Channel]) -> Subject:
    def use(channel: grpc.Channel) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        call(b"", wait_for_ready=True)

    @asynccontextmanager
    async def channel(backends: Sequence[str]) -> AsyncIterator[None]:
        with make(backends) as made:
            await asyncio.to_thread(use, made)
            yield

    return channel


def _aio(make: Callable[[Sequence[str]], grpc.aio.Channel]) -> Subject:
    def use(channel: grpc.aio.Channel) -> Awaitable[bytes]:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        return call(b"", wait_for_ready=True)

    @asynccontextmanager
    async def channel(backends: Sequence[str]) -> AsyncIterator[None]:
        async with make(backends) as made:
            await use(made)
            yield

    return channel


def _of_grpc(backends: Sequence[str]) -> str:
    return f"ipv4:{','.join(backends)}"


def _of_ours(backends: Sequence[str]) -> str:
    return f"static:///{','.join(backends)}"


SUBJECTS: Mapping[str, Subject] = {
    "C-core's round_robin, sync": _sync(
        lambda backends: grpc.insecure_channel(_of_grpc(backends), (*_OPTIONS, _ROUND_ROBIN))
    ),
    "sync": _sync(lambda backends: client_resolver.insecure_channel(_of_ours(backends))),
    "C-core's round_robin, aio": _aio(
        lambda backends: grpc.aio.insecure_channel(_of_grpc(backends), (*_OPTIONS, _ROUND_ROBIN))
    ),
    "aio": _aio(lambda backends: client_resolver.aio.insecure_channel(_of_ours(backends))),
}
"""By name."""
