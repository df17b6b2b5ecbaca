"""A client of the balancer for the commands: messages in, plain records out."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from lookaside._pb import lookaside_pb2 as pb
from lookaside.cli.failures import USAGE, Failure
from lookaside.cli.refusals import refused

_SERVICE = "/lookaside.LoadBalancer/"
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.max_receive_message_length", -1),
)
Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Server:
    """One backend of a list."""

    address: str
    weight: int
    health: str
    zone: str
    node: str
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ServerList:
    """One answer of the balancer.

    Attributes:
        service: The service in full.
        state: What the list means: ``present``, ``empty``, ``absent``, ``stale``.
        servers: The backends.
        document: The message in protobuf's JSON form.
    """

    service: str
    state: str
    servers: tuple[Server, ...]
    document: Document


@dataclass(frozen=True, slots=True)
class Summary:
    """One service of the balancer's."""

    service: str
    source: str
    state: str
    servers: int
    digest: str


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach the balancer.

    Attributes:
        target: HOST:PORT, or a target as gRPC takes it.
        credentials: TLS credentials; None for plaintext.
        authority: The name that the balancer's certificate must bear; "" for that of the target.
    """

    target: str
    credentials: grpc.ChannelCredentials | None = None
    authority: str = ""


class Balancer:
    """A connection to the balancer, as an async context.

    Args:
        address: How to reach it.
    """

    def __init__(self, address: Address) -> None:
        self._target = address.target
        options: list[tuple[str, str | int]] = list(_OPTIONS)
        if address.authority:
            options.append(("grpc.default_authority", address.authority))
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

    async def get(self, service: str, seconds: float) -> ServerList:
        """Return the list of a service, within some seconds.

        Raises:
            BalancerError: There is no answer.
        """
        call = self._channel.unary_unary(
            _SERVICE + "GetServers",
            request_serializer=pb.GetServersRequest.SerializeToString,
            response_deserializer=pb.GetServersResponse.FromString,
        )
        try:
            return _server_list(
                await call(pb.GetServersRequest(service_name=service), timeout=seconds)
            )
        except grpc.RpcError as error:
            raise refused(error, self._target) from error

    async def list(self, namespace: str, seconds: float) -> tuple[list[Summary], Document]:
        """Return the services of a namespace, "" for all, and the whole message in JSON form.

        Raises:
            BalancerError: There is no answer.
        """
        call = self._channel.unary_unary(
            _SERVICE + "ListServices",
            request_serializer=pb.ListServicesRequest.SerializeToString,
            response_deserializer=pb.ListServicesResponse.FromString,
        )
        try:
            answer = await call(pb.ListServicesRequest(namespace=namespace), timeout=seconds)
        except grpc.RpcError as error:
            raise refused(error, self._target) from error
        found = [
            Summary(
                each.service,
                each.source,
                _state(each.state, each.servers),
                each.servers,
                each.revision.digest,
            )
            for each in answer.services
        ]
        return found, _document(answer)

    async def watch(self, service: str) -> AsyncIterator[ServerList]:
        """Yield the list of a service at once and after every change, until the stream ends.

        Raises:
            BalancerError: The stream failed.
        """
        call = self._channel.unary_stream(
            _SERVICE + "WatchServers",
            request_serializer=pb.WatchServersRequest.SerializeToString,
            response_deserializer=pb.WatchServersResponse.FromString,
        )(pb.WatchServersRequest(service_name=service))
        try:
            async for message in call:
                yield _server_list(message)
        except grpc.RpcError as error:
            raise refused(error, self._target) from error
        finally:
            call.cancel()


def credentials(
    ca: Path | None, certificate: Path | None, key: Path | None
) -> grpc.ChannelCredentials:
    """Make TLS credentials of PEM files.

    Args:
        ca: The authorities to trust; None for the system's.
        certificate: The client's certificate chain; None for none.
        key: The certificate's private key.

    Raises:
        Failure: A file can't be read.
    """
    return grpc.ssl_channel_credentials(_bytes(ca), _bytes(key), _bytes(certificate))


def _bytes(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise Failure(f"can't read {path}: {error.strerror or error}", USAGE) from error


def _server_list(answer: pb.GetServersResponse | pb.WatchServersResponse) -> ServerList:
    servers = tuple(
        Server(
            address=each.address,
            weight=each.weight,
            health=pb.Health.Name(each.health).removeprefix("HEALTH_").lower(),
            zone=each.locality.zone,
            node=each.locality.node,
            metadata=tuple(sorted(each.metadata.items())),
        )
        for each in answer.servers
    )
    return ServerList(
        answer.service, _state(answer.state, len(servers)), servers, _document(answer)
    )


def _state(state: pb.State, servers: int) -> str:
    if state == pb.STATE_UNSPECIFIED:
        return "present" if servers else "empty"
    return pb.State.Name(state).removeprefix("STATE_").lower()


def _document(message: Message) -> Document:
    return MessageToDict(message, always_print_fields_with_no_presence=True)
