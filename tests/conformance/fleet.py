"""What the tests of the data plane share: configs, kinds of RPC, handlers, and waits."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import grpc

from client_resolver.core.snapshot import BackendSnapshot, ChannelSnapshot
from client_resolver.testing import Backend, connect, connect_aio
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance.clients import Client

SERVICE = "greeter.shop"
TIMEOUT = 20.0
"""Seconds that an RPC has which is to succeed."""

KINDS: dict[str, tuple[str, Any]] = {
    "unary_unary": ("Unary", b"x"),
    "unary_stream": ("ServerStream", b"x"),
    "stream_unary": ("ClientStream", [b"x"]),
    "stream_stream": ("Bidi", [b"x"]),
}
"""Of each kind of RPC: its method and its request. A backend that echoes gives that back."""

RETRY: dict[str, object] = {
    "maxAttempts": 3,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}

Behavior: TypeAlias = Callable[[Iterator[bytes], grpc.ServicerContext], Iterable[bytes]]


def for_all(**fields: object) -> dict[str, object]:
    """A service config with a `methodConfig` for every method."""
    return {"methodConfig": [{"name": [{}], **fields}]}


def retrying(**fields: object) -> dict[str, object]:
    """A service config that has failed RPCs tried again soon."""
    return for_all(retryPolicy={**RETRY, **fields})


def policy(name: str, **settings: object) -> dict[str, object]:
    """A service config with one load-balancing policy."""
    return {"loadBalancingConfig": [{name: settings}]}


class _Serving(grpc.GenericRpcHandler):
    def __init__(self, behavior: Behavior) -> None:
        self._behavior = behavior

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if handler_call_details.method.startswith("/grpc.health."):
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._behavior,
            lambda message: Message.FromString(message).data,
            lambda data: Message(data=data).SerializeToString(),
        )


def serving(behavior: Behavior) -> Callable[[grpc.Server], object]:
    """What a backend serves that answers every method, but for health checks, in one way.

    What `behavior` gets and gives is what the messages carry.
    """
    return lambda server: server.add_generic_rpc_handlers((_Serving(behavior),))


async def call(client: Client, kind: str = "unary_unary", **kwargs: Any) -> list[bytes]:
    """Make an RPC of any kind and return its responses."""
    kwargs.setdefault("timeout", TIMEOUT)
    return await client.collect(kind, *KINDS[kind], **kwargs)


async def calls(client: Client, count: int, **kwargs: Any) -> None:
    """Make unary RPCs one after another."""
    for _ in range(count):
        await call(client, **kwargs)


async def failure(client: Client, kind: str = "unary_unary", **kwargs: Any) -> grpc.RpcError:
    """Make an RPC that is to fail and return its error."""
    try:
        await call(client, kind, **kwargs)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the RPC has not failed")


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    code: grpc.StatusCode = error.code()
    return code


def details_of(error: grpc.RpcError) -> str:
    return str(error.details())


async def connected(client: Client, count: int) -> ChannelSnapshot:
    """Have a channel connect until it picks among exactly `count` backends."""
    if isinstance(client.channel, grpc.aio.Channel):
        return await connect_aio(client.channel, count)  # type: ignore[arg-type]
    return await asyncio.to_thread(connect, client.channel, count)


def snapshot(client: Client) -> ChannelSnapshot:
    taken: ChannelSnapshot = client.channel.snapshot()
    return taken


def listed(client: Client) -> Mapping[str, BackendSnapshot]:
    """What a channel has of each backend, by address."""
    return {one.address: one for one in snapshot(client).backends}


def attempts(backends: Iterable[Backend]) -> int:
    """How many RPCs have come to these backends."""
    return sum(len(backend.received) for backend in backends)
