"""One face over both shells, so that one suite runs over both.

Calls go through the generated stub and carry messages, as an application's do; tests say and see
what is in them. Everything is awaited: the aio shell on the test's own loop, the sync shell on
threads.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

import client_resolver
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub

PREFIX = "/echo.Echo/"


class Call(ABC):
    """One RPC under way."""

    @abstractmethod
    async def response(self) -> bytes: ...
    @abstractmethod
    async def read(self) -> bytes | None: ...
    @abstractmethod
    async def code(self) -> grpc.StatusCode: ...
    @abstractmethod
    async def details(self) -> str: ...
    @abstractmethod
    async def trailing(self) -> dict[str, Any]: ...
    @abstractmethod
    async def initial(self) -> dict[str, Any]: ...

    def __init__(self, call: Any) -> None:
        self.call = call


class Client(ABC):
    """One channel."""

    channel: Any
    _stub: Any = None

    @property
    def stub(self) -> Any:
        """The generated stub on the channel."""
        if self._stub is None:
            self._stub = EchoStub(self.channel)
        return self._stub

    def drop(self) -> None:
        """Refer no longer to the channel."""
        self.channel = self._stub = None

    @abstractmethod
    def start(self, kind: str, method: str, request: Any, **kwargs: Any) -> Call: ...
    @abstractmethod
    async def unary(self, request: bytes = b"x", method: str = "Unary", **kwargs: Any) -> bytes: ...
    @abstractmethod
    async def ready(self) -> None: ...
    @abstractmethod
    async def await_state(self, state: grpc.ChannelConnectivity) -> None: ...
    @abstractmethod
    async def close(self) -> None: ...

    async def collect(self, kind: str, method: str, request: Any, **kwargs: Any) -> list[bytes]:
        """Make an RPC of any kind and return its responses."""
        call = self.start(kind, method, request, **kwargs)
        if kind.endswith("unary"):
            return [await call.response()]
        responses = []
        while (response := await call.read()) is not None:
            responses.append(response)
        return responses

    async def port(self) -> int:
        """Make an RPC and return the port of the backend that it was put on."""
        call = self.start("unary_unary", "Unary", b"x", timeout=20)
        await call.response()
        return int((await call.trailing())["port"])

    async def ports(self, count: int) -> list[int]:
        """Make RPCs one after another and return the ports of their backends."""
        return [await self.port() for _ in range(count)]


class SyncCall(Call):
    async def response(self) -> bytes:
        return data_of(await asyncio.to_thread(self.call.result))

    async def read(self) -> bytes | None:
        response = await asyncio.to_thread(next, self.call, None)
        return None if response is None else data_of(response)

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await asyncio.to_thread(self.call.code)
        return code

    async def details(self) -> str:
        return str(await asyncio.to_thread(self.call.details))

    async def trailing(self) -> dict[str, Any]:
        return dict(await asyncio.to_thread(self.call.trailing_metadata))

    async def initial(self) -> dict[str, Any]:
        return dict(await asyncio.to_thread(self.call.initial_metadata))


class SyncClient(Client):
    def __init__(self, target: str, credentials: Any = None, **kwargs: Any) -> None:
        if credentials is None:
            self.channel = client_resolver.insecure_channel(target, **kwargs)
        else:
            self.channel = client_resolver.secure_channel(target, credentials, **kwargs)

    def start(self, kind: str, method: str, request: Any, **kwargs: Any) -> Call:
        multicallable = getattr(self.stub, method)
        make = multicallable.future if kind.endswith("unary") else multicallable
        return SyncCall(make(messages(kind, request), **kwargs))

    async def unary(self, request: bytes = b"x", method: str = "Unary", **kwargs: Any) -> bytes:
        multicallable = getattr(self.stub, method)
        return data_of(await asyncio.to_thread(multicallable, Message(data=request), **kwargs))

    async def ready(self) -> None:
        await asyncio.to_thread(grpc.channel_ready_future(self.channel).result, 20)

    async def await_state(self, state: grpc.ChannelConnectivity) -> None:
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()

        def observe(now: grpc.ChannelConnectivity) -> None:
            if now is state:
                loop.call_soon_threadsafe(reached.set)

        self.channel.subscribe(observe, try_to_connect=True)
        await asyncio.wait_for(reached.wait(), 20)
        self.channel.unsubscribe(observe)

    async def close(self) -> None:
        await asyncio.to_thread(self.channel.close)


class AioCall(Call):
    async def response(self) -> bytes:
        return data_of(await self.call)

    async def read(self) -> bytes | None:
        response = await self.call.read()
        return None if response is grpc.aio.EOF else data_of(response)

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await self.call.code()
        return code

    async def details(self) -> str:
        return str(await self.call.details())

    async def trailing(self) -> dict[str, Any]:
        return {key: value for key, value in await self.call.trailing_metadata()}  # noqa: C416

    async def initial(self) -> dict[str, Any]:
        return {key: value for key, value in await self.call.initial_metadata()}  # noqa: C416


class AioClient(Client):
    def __init__(self, target: str, credentials: Any = None, **kwargs: Any) -> None:
        if credentials is None:
            self.channel = client_resolver.aio.insecure_channel(target, **kwargs)
        else:
            self.channel = client_resolver.aio.secure_channel(target, credentials, **kwargs)

    def start(self, kind: str, method: str, request: Any, **kwargs: Any) -> Call:
        request = messages(kind, request)
        if kind.startswith("stream"):
            request = _walk(request)
        return AioCall(getattr(self.stub, method)(request, **kwargs))

    async def unary(self, request: bytes = b"x", method: str = "Unary", **kwargs: Any) -> bytes:
        return data_of(await getattr(self.stub, method)(Message(data=request), **kwargs))

    async def ready(self) -> None:
        await asyncio.wait_for(self.channel.channel_ready(), 20)

    async def await_state(self, state: grpc.ChannelConnectivity) -> None:
        async with asyncio.timeout(20):
            while (now := self.channel.get_state(try_to_connect=True)) is not state:
                await self.channel.wait_for_state_change(now)

    async def close(self) -> None:
        await self.channel.close()


def messages(kind: str, request: Any) -> Any:
    """Make what is sent of what a test says: bytes, or some of them where they stream."""
    if kind.startswith("stream"):
        return (Message(data=data) for data in request)
    return Message(data=request)


def data_of(response: Any) -> bytes:
    """Take out what a response carries."""
    assert isinstance(response, Message)
    return response.data


async def _walk(requests: Iterable[Message]) -> AsyncIterator[Message]:
    for request in requests:
        yield request
