"""Why a connection fails: a channel says of each cause what a plain channel says."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import trustme

from client_resolver.core.model import Connectivity
from client_resolver.sync.connection import why
from client_resolver.testing import Backend, Backends, eventually
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub
from tests.conformance.clients import Client
from tests.conformance.fleet import calls, failure, snapshot
from tests.conformance.test_tls import served, trusting

Connect = Callable[..., Client]

LEAD = "failed to connect to all addresses; last error: "
OPTIONS: Sequence[tuple[str, object]] = [("grpc.use_local_subchannel_pool", 1)]
HASTY = ("grpc.min_reconnect_backoff_ms", 300)
"""How long an attempt to connect may take. Without it: 20 s."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Somewhere that nobody can connect to, and a part of what gRPC says of it.

    Where nothing answers, time runs out: soon, and two timers of gRPC's race, so that it says
    either of two things.
    """

    address: str
    says: str
    credentials: grpc.ChannelCredentials | None = None
    or_says: str = ""

    @property
    def options(self) -> Sequence[tuple[str, object]]:
        return [*OPTIONS, HASTY] if self.or_says else OPTIONS

    def one_text(self, text: str) -> str:
        return text.replace(self.or_says, self.says) if self.or_says else text


@contextmanager
def refused(_: trustme.CA) -> Iterator[Cause]:
    # Bound and not listened on: no other process gets the port meanwhile.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield Cause(f"127.0.0.1:{taken.getsockname()[1]}", "Connection refused")


@contextmanager
def silent(_: trustme.CA) -> Iterator[Cause]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        says = "connection attempt timed out before receiving SETTINGS frame"
        yield Cause(address, says, or_says="tcp handshaker shutdown")


@contextmanager
def black_hole(_: trustme.CA) -> Iterator[Cause]:
    # With its backlog full, Linux drops what else would connect.
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _one in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        says = "Failed to connect to remote host: connect() timed out"
        yield Cause(address, says, or_says="tcp handshaker shutdown")


@contextmanager
def another_name(authority: trustme.CA) -> Iterator[Cause]:
    with Backend(credentials=served(authority, "other.shop")) as backend:
        yield Cause(backend.address, "Hostname Verification Check failed", trusting(authority))


@contextmanager
def expired(authority: trustme.CA) -> Iterator[Cause]:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    cert = authority.issue_cert("127.0.0.1", not_after=yesterday)
    chain = b"".join(pem.bytes() for pem in cert.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(cert.private_key_pem.bytes(), chain)])
    with Backend(credentials=credentials) as backend:
        yield Cause(backend.address, "certificate has expired", trusting(authority))


@contextmanager
def unknown_authority(authority: trustme.CA) -> Iterator[Cause]:
    with Backend(credentials=served(authority, "127.0.0.1")) as backend:
        yield Cause(backend.address, "CERTIFICATE_VERIFY_FAILED", trusting(trustme.CA()))


@contextmanager
def tls_to_plaintext(authority: trustme.CA) -> Iterator[Cause]:
    with Backend() as backend:
        yield Cause(backend.address, "WRONG_VERSION_NUMBER", trusting(authority))


@contextmanager
def plaintext_to_tls(authority: trustme.CA) -> Iterator[Cause]:
    with Backend(credentials=served(authority, "127.0.0.1")) as backend:
        yield Cause(backend.address, "")


def plain(cause: Cause) -> str:
    """What an RPC on a channel of grpc's own fails with."""
    credentials, options = cause.credentials, cause.options
    with (
        (
            grpc.insecure_channel(cause.address, options)
            if credentials is None
            else grpc.secure_channel(cause.address, credentials, options)
        ) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        EchoStub(channel).Unary(Message(), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return str(caught.value.details())


@pytest.mark.parametrize(
    "cause",
    [
        refused,
        silent,
        black_hole,
        another_name,
        expired,
        unknown_authority,
        tls_to_plaintext,
        plaintext_to_tls,
    ],
)
@pytest.mark.parametrize("policy", ["round_robin", "pick_first"])
async def test_an_rpc_and_the_snapshot_tell_why_as_plain_grpc_does(
    cause: Callable[[trustme.CA], Iterator[Cause]],
    policy: str,
    authority: trustme.CA,
    connect: Connect,
) -> None:
    with cause(authority) as met:  # type: ignore[attr-defined]
        expected = met.one_text(plain(met).removeprefix(LEAD))
        assert met.says in expected
        client = connect(
            f"static:///{met.address}",
            credentials=met.credentials,
            options=met.options,
            policy=policy,
        )
        error = await failure(client, timeout=60)
        (backend,) = snapshot(client).backends
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert met.one_text(backend.last_error) == expected
    assert backend.last_error in str(error.details())


async def test_each_of_several_backends_has_a_reason_of_its_own(
    authority: trustme.CA, connect: Connect
) -> None:
    with refused(authority) as one, tls_to_plaintext(authority) as other:
        client = connect(
            f"static:///{one.address},{other.address}", credentials=trusting(authority)
        )
        error = await failure(client, timeout=60)
    assert "Connection refused" in str(error.details())
    assert "WRONG_VERSION_NUMBER" in str(error.details())


async def test_a_connection_that_is_ready_again_has_no_reason(
    fleet: Callable[..., Backends], connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target)
    await calls(client, 2)
    backends[0].stop()
    await eventually(lambda: "refused" in snapshot(client).backends[0].last_error)
    backends[0].restart()
    await eventually(lambda: snapshot(client).backends[0].last_error == "")


def question(client: Client, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[str]]:
    """How a channel asks why the connection to its one backend fails, although it doesn't."""
    (backend,) = client.channel._driver.runner.machine.pool
    failing = grpc.ChannelConnectivity.TRANSIENT_FAILURE
    if isinstance(client.channel, grpc.aio.Channel):
        (channel,) = backend.handle.channels
        monkeypatch.setattr(channel, "get_state", lambda: failing)

        async def ask() -> str:
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            backend.handle.explain(answer.set_result)
            return await answer

        return ask
    monkeypatch.setattr(backend.handle, "state", lambda _connect: Connectivity.TRANSIENT_FAILURE)
    return lambda: asyncio.to_thread(why, backend.handle)


class Token(grpc.AuthMetadataPlugin):
    def __call__(self, _context: Any, callback: Any) -> None:
        callback((("token", "secret"),), None)


@pytest.mark.parametrize("credentials", ["none", "tls", "tls and a token"])
async def test_the_question_why_reaches_no_backend_that_has_become_ready_meanwhile(
    credentials: str, authority: trustme.CA, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = credentials != "none"
    of_client = trusting(authority)
    if credentials == "tls and a token":
        token = grpc.metadata_call_credentials(Token())
        of_client = grpc.composite_channel_credentials(of_client, token)
    with Backend(credentials=served(authority, "127.0.0.1") if tls else None) as backend:
        client = connect(f"static:///{backend.address}", credentials=of_client if tls else None)
        await calls(client, 1)
        with monkeypatch.context() as failing:
            ask = question(client, failing)
            assert [await ask() for _ in range(20)] == [""] * 20
        # What was sent before this RPC on its connection would have come before it.
        await calls(client, 1)
        assert [one.method for one in backend.received] == ["/echo.Echo/Unary"] * 2
    assert len({one.peer for one in backend.received}) == 1


async def test_backends_that_come_and_go_see_no_rpc_but_the_applications(
    fleet: Callable[..., Backends], connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target)
    await calls(client, 2)
    for _ in range(3):
        backends[0].stop()
        await eventually(lambda: snapshot(client).backends[0].last_error)
        backends[0].restart()
        await eventually(lambda: snapshot(client).backends[0].last_error == "")
        await calls(client, 2)
    assert sum(backends.calls) == 8
    assert {one.method for backend in backends for one in backend.received} == {"/echo.Echo/Unary"}
