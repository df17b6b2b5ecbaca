"""A client of the balancer for the commands: messages in, plain records out."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

from lookaside._pb import lookaside_pb2 as pb
from lookaside.api.pem import read
from lookaside.cli.balancer import messages
from lookaside.cli.balancer.errors import BalancerError, refused
from lookaside.cli.balancer.messages import Document, Explained, ServerList, Summary
from lookaside.cli.errors import USAGE, Failure

Answer = TypeVar("Answer")

_SERVICE = "/lookaside.LoadBalancer/"
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.max_receive_message_length", -1),
)


@dataclass(frozen=True, slots=True)
class Address:
    """The address and credentials of the balancer.

    Attributes:
        target: HOST:PORT, or a target as gRPC takes it.
        credentials: TLS credentials; None for plaintext.
        authority: The name that calls are for and that the balancer's certificate must bear; "" for
            the host of the target.
        server_name: The name that its certificate must bear, whatever calls are for; "" for the
            authority.
        token_file: The file of the token to send, read again for each call; None: no token.
    """

    target: str
    credentials: grpc.ChannelCredentials | None = None
    authority: str = ""
    server_name: str = ""
    token_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose list is asked for. "" is left open.

    Attributes:
        zone: The zone that the client runs in.
        node: The node that it runs on.
        id: Its name.
        subset_size: How many backends it wants; 0 for all.
    """

    zone: str = ""
    node: str = ""
    id: str = ""
    subset_size: int = 0

    def message(self) -> pb.Client:
        """Return the client of a request."""
        return pb.Client(id=self.id, zone=self.zone, node=self.node)


ANYONE = Asker()


class Balancer:
    """A connection to the balancer, as an async context.

    Args:
        address: How to reach it.
    """

    def __init__(self, address: Address) -> None:
        self._target = address.target
        self._secure = address.credentials is not None
        self._token_file = address.token_file
        options: list[tuple[str, str | int]] = list(_OPTIONS)
        if address.authority:
            options.append(("grpc.default_authority", address.authority))
        if address.server_name:
            options.append(("grpc.ssl_target_name_override", address.server_name))
        if address.credentials is None:
            self._channel = grpc.aio.insecure_channel(address.target, options)
        else:
            self._channel = grpc.aio.secure_channel(address.target, address.credentials, options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._channel.close()

    async def get(self, service: str, seconds: float, asker: Asker = ANYONE) -> ServerList:
        """Return the list of a service, within some seconds.

        Raises:
            BalancerError: There is no answer.
        """
        request = pb.GetServersRequest(
            service_name=service, client=asker.message(), subset_size=asker.subset_size
        )
        answer = await self._ask("GetServers", request, pb.GetServersResponse.FromString, seconds)
        return messages.server_list(answer)

    async def list(self, namespace: str, seconds: float) -> tuple[list[Summary], Document]:
        """Return the services of a namespace, "" for all, and the whole message in JSON form.

        Raises:
            BalancerError: There is no answer.
        """
        request = pb.ListServicesRequest(namespace=namespace)
        read = pb.ListServicesResponse.FromString
        return messages.summaries(await self._ask("ListServices", request, read, seconds))

    async def explain(self, service: str, seconds: float, asker: Asker = ANYONE) -> Explained:
        """Return why the list of a service is as it is.

        Raises:
            BalancerError: There is no answer.
        """
        request = pb.ExplainRequest(
            service_name=service, client=asker.message(), subset_size=asker.subset_size
        )
        answer = await self._ask("Explain", request, pb.ExplainResponse.FromString, seconds)
        return messages.explained(answer)

    async def watch(self, service: str, asker: Asker = ANYONE) -> AsyncIterator[ServerList]:
        """Yield the list of a service at once and after every change, until the stream ends.

        Raises:
            BalancerError: The stream failed.
        """
        request = pb.WatchServersRequest(
            service_name=service, client=asker.message(), subset_size=asker.subset_size
        )
        call = self._channel.unary_stream(
            _SERVICE + "WatchServers",
            request_serializer=pb.WatchServersRequest.SerializeToString,
            response_deserializer=pb.WatchServersResponse.FromString,
        )(request, metadata=self._metadata())
        try:
            async for message in call:
                yield messages.server_list(message)
        except grpc.RpcError as error:
            raise self._refused(error) from error
        finally:
            call.cancel()

    async def _ask(
        self, method: str, request: Message, parse: Callable[[bytes], Answer], seconds: float
    ) -> Answer:
        call: grpc.aio.UnaryUnaryMultiCallable[Message, Answer] = self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=parse,
        )
        try:
            return await call(request, timeout=seconds, metadata=self._metadata())
        except grpc.RpcError as error:
            raise self._refused(error) from error

    def _refused(self, error: grpc.RpcError) -> BalancerError:
        return refused(error, self._target, secure=self._secure)

    def _metadata(self) -> grpc.aio.Metadata:
        """Return what goes along with a call.

        Raises:
            ConfigError: The token can't be read.
            Failure: The file holds none.
        """
        metadata = grpc.aio.Metadata()
        if self._token_file:
            token = read(self._token_file).decode("utf-8", "replace").strip()
            if not token or not (token.isascii() and token.isprintable()):
                raise Failure(f"{self._token_file} holds no token", USAGE)
            metadata.add("authorization", f"Bearer {token}")
        return metadata
