"""The client against a web server on loopback."""

import asyncio
import base64
import json
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api.client import Client, Stream
from lookaside.sources.kubernetes.api.connection import Connection
from lookaside.sources.kubernetes.api.credentials import Kubeconfig
from lookaside.sources.kubernetes.api.errors import (
    ApiStatus,
    ConnectionBroken,
    KubernetesError,
    ReadTimeout,
    ResponseTooLarge,
    Unreachable,
)
from tests.certificates import Issued, Shape, shaped

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A web server with one handler, and a client for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests: list[web.Request] = []
        self.handler: Handler | None = None
        self.runner = web.AppRunner(_app(self._handle), shutdown_timeout=0.01)
        self.clients: list[Client] = []
        self.port = 0

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = self.runner.addresses[0][1]

    def client(
        self,
        cluster: Mapping[str, object] | None = None,
        user: Mapping[str, object] | None = None,
        *,
        scheme: str = "http",
        port: int = 0,
        environ: Mapping[str, str] = os.environ,
    ) -> Client:
        path = self.directory / "config"
        server = f"{scheme}://127.0.0.1:{port or self.port}"
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
            "users": [{"name": "u", "user": user or {"token": "secret"}}],
        }
        path.write_text(json.dumps(content))
        client = Client(Kubeconfig(path, environ=environ), user_agent="lookaside/test")
        self.clients.append(client)
        return client

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        await self.runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.handler is None:
            return web.Response(body=b"hello")
        return await self.handler(request)


def _app(handler: Handler) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return app


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.start()
    yield site
    await site.close()


async def get(client: Client, *, limit: int = 1000, read_timeout: float = 5.0) -> bytes:
    query = {"continue": "a=b/c+d", "limit": "5"}
    async with client.open(
        "/api/v1/services", query, connect_timeout=20, read_timeout=read_timeout
    ) as stream:
        return bytes(await stream.read(limit))


async def test_a_request_is_as_it_must_be(site: Site) -> None:
    assert await get(site.client()) == b"hello"
    [request] = site.requests
    assert request.path == "/api/v1/services"
    assert dict(request.query) == {"continue": "a=b/c+d", "limit": "5"}
    assert request.headers["User-Agent"] == "lookaside/test"
    assert request.headers["Accept"] == "application/json"


async def test_what_is_accepted_can_be_said(site: Site) -> None:
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
    async with site.client().open(
        "/", {}, accept=accept, connect_timeout=20, read_timeout=20
    ) as stream:
        assert await stream.read(5) == b"hello"
    assert site.requests[0].headers["Accept"] == accept


async def test_connections_are_kept_for_later_requests(site: Site) -> None:
    client = site.client()
    for _ in range(3):
        await get(client)
    assert len({request.transport for request in site.requests}) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("86400", 86400.0),
        ("", 0.0),
        ("-1", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
async def test_a_refusal_is_a_status(site: Site, header: str, seconds: float) -> None:
    async def refuse(request: web.Request) -> web.Response:
        body = {"kind": "Status", "message": "slow down", "code": 429}
        return web.json_response(body, status=429, headers={"Retry-After": header})

    site.handler = refuse
    with pytest.raises(ApiStatus, match="429: slow down") as caught:
        await get(site.client())
    assert (caught.value.code, caught.value.retry_after) == (429, seconds)


@pytest.mark.parametrize("body", [b"", b"<html>", b"x" * 200_000])
async def test_a_refusal_with_any_body_is_a_status(site: Site, body: bytes) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=502, body=body)

    site.handler = refuse
    with pytest.raises(ApiStatus) as caught:
        await get(site.client())
    assert caught.value.code == 502
    assert len(str(caught.value)) < 300


async def test_an_answer_above_the_limit_is_not_read(site: Site) -> None:
    with pytest.raises(ResponseTooLarge, match="4 bytes"):
        await get(site.client(), limit=4)
    assert await get(site.client(), limit=5) == b"hello"


@pytest.mark.parametrize("headers_first", [True, False])
async def test_silence_ends_at_the_read_timeout(site: Site, headers_first: bool) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if headers_first:
            await response.prepare(request)
        await asyncio.sleep(30)
        return response

    site.handler = hang
    with pytest.raises(ReadTimeout):
        await get(site.client(), read_timeout=0.05)


@pytest.mark.parametrize("headers_first", [True, False])
async def test_a_connection_that_breaks(site: Site, headers_first: bool) -> None:
    async def abort(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if headers_first:
            await response.prepare(request)
            await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    site.handler = abort
    with pytest.raises(ConnectionBroken):
        await get(site.client())


async def test_a_stream_that_is_closed_wakes_its_reader(site: Site) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        await asyncio.sleep(30)
        return response

    async def follow(stream: Stream) -> list[bytes]:
        seen = []
        try:
            async for chunk in stream.chunks():
                seen.append(chunk)
                asyncio.get_running_loop().call_soon(stream.close)
        except KubernetesError:
            pass
        return seen

    site.handler = trickle
    async with site.client().open("/", {}, connect_timeout=20, read_timeout=20) as stream:
        assert await asyncio.wait_for(follow(stream), 20) == [b"one"]


async def test_a_refused_connection_is_unreachable(site: Site) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="Cannot connect"):
            await get(site.client(port=unused.getsockname()[1]))


async def test_a_connection_that_takes_too_long_is_unreachable(site: Site) -> None:
    with closing(socket.socket()) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        client = site.client(port=port)
        try:
            with pytest.raises(Unreachable):
                async with client.open("/", {}, connect_timeout=0.05, read_timeout=20):
                    pass
        finally:
            for each in waiting:
                each.close()


async def test_a_certificate_that_is_not_trusted_is_unreachable(tmp_path: Path) -> None:
    theirs, mine = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.issue_cert("127.0.0.1").configure_cert(context)
    site = Site(tmp_path)
    await site.start(context)
    for authority in (theirs, mine):
        authority.cert_pem.write_to_path(str(tmp_path / f"{id(authority)}.pem"))
    try:
        trusting = {"certificate-authority": f"{id(theirs)}.pem"}
        assert await get(site.client(trusting, scheme="https")) == b"hello"
        with pytest.raises(Unreachable, match="certificate"):
            await get(site.client({"certificate-authority": f"{id(mine)}.pem"}, scheme="https"))
    finally:
        await site.close()


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each Python make the contexts that 3.13 makes."""
    make = ssl.create_default_context

    def create(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        context = make(*args, **kwargs)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", create)


@asynccontextmanager
async def tls_client(directory: Path, issued: Issued, trusted: bytes) -> AsyncIterator[Client]:
    """Serve with a certificate, and enter with a client that trusts an authority."""
    (directory / "cert.pem").write_bytes(issued.key + issued.certificate)
    (directory / "ca.pem").write_bytes(trusted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem")
    site = Site(directory)
    await site.start(context)
    try:
        yield site.client({"certificate-authority": "ca.pem"}, scheme="https")
    finally:
        await site.close()


@asynccontextmanager
async def secure(
    directory: Path, name: str = "127.0.0.1", *, clients: trustme.CA | None = None
) -> AsyncIterator[tuple[Site, dict[str, object]]]:
    """Serve by TLS, and enter with the server and what a cluster needs to trust it.

    Args:
        directory: Where kubeconfigs are written.
        name: The name in the certificate.
        clients: Whose certificates clients must have; None: they need none.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    site = Site(directory)
    await site.start(context)
    try:
        yield site, {"certificate-authority-data": encoded(authority.cert_pem.bytes())}
    finally:
        await site.close()


def encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def memory_files() -> list[Path]:
    links = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return [each for each in links if "memfd:pem" in str(each.readlink())]


def shown_key(
    encryption: serialization.KeySerializationEncryption | None = None,
) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


SHAPES = {
    "as RFC 5280 says": Shape(),
    "without an authority key identifier": Shape(authority_key=False),
    "without a subject key identifier": Shape(subject_key=False),
    "with basic constraints alone, as EKS": Shape(
        subject_key=False, authority_key=False, key_usage=False
    ),
    "with basic constraints that aren't critical": Shape(critical=False),
}


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_certificates_are_taken_in_any_form_that_kubectl_takes(
    tmp_path: Path, shape: Shape
) -> None:
    issued = shaped(shape)
    async with tls_client(tmp_path, issued, issued.authority) as client:
        assert await get(client) == b"hello"


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_a_certificate_of_any_form_must_be_of_the_ca_valid_and_for_the_server(
    tmp_path: Path, shape: Shape
) -> None:
    good = shaped(shape)
    expired = shaped(shape, valid_days=(-3, -1))
    elsewhere = shaped(shape, address="192.0.2.1")
    for issued, trusted, said in (
        (good, shaped(shape).authority, "certificate signature failure|unable to get local issuer"),
        (expired, expired.authority, "certificate has expired"),
        (elsewhere, elsewhere.authority, "IP address mismatch"),
    ):
        async with tls_client(tmp_path, issued, trusted) as client:
            with pytest.raises(Unreachable, match=said):
                await get(client)


async def test_any_certificate_that_is_trusted_ends_a_chain(tmp_path: Path) -> None:
    issued = shaped(Shape())
    async with tls_client(tmp_path, issued, issued.certificate) as client:
        assert await get(client) == b"hello"


async def test_a_bundle_may_hold_what_is_no_certificate(tmp_path: Path) -> None:
    issued = shaped(Shape())
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = "# Wurzel, für die Prüfung\n".encode() + broken + issued.authority + b"end"
    async with tls_client(tmp_path, issued, bundle) as client:
        assert await get(client) == b"hello"


async def test_a_common_name_is_no_name_of_a_server(tmp_path: Path) -> None:
    issued = shaped(Shape(), address=None)
    async with tls_client(tmp_path, issued, issued.authority) as client:
        with pytest.raises(Unreachable, match="mismatch"):
            await get(client)


async def test_a_token_is_sent_by_tls_alone(tmp_path: Path, site: Site) -> None:
    await get(site.client())
    assert "Authorization" not in site.requests[0].headers
    async with secure(tmp_path) as (tls_site, trusting):
        await get(tls_site.client(trusting, scheme="https"))
        assert tls_site.requests[0].headers["Authorization"] == "Bearer secret"


async def test_a_clients_certificate_is_shown_and_its_key_is_on_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "tmp"
    empty.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(empty))
    authority = trustme.CA()
    shown = authority.issue_cert("me", common_name="me")
    user = {
        "client-certificate-data": encoded(shown.cert_chain_pems[0].bytes()),
        "client-key-data": encoded(shown.private_key_pem.bytes()),
    }
    async with secure(tmp_path, clients=authority) as (site, trusting):
        client = site.client(trusting, user, scheme="https")
        await get(client)
        transport = site.requests[0].transport
        assert transport is not None
        subject = transport.get_extra_info("peercert")["subject"]
        assert subject[-1] == (("commonName", "me"),)
        with pytest.raises(KubernetesError):
            await get(site.client(trusting, scheme="https"))
    assert not list(empty.iterdir())
    assert not memory_files()


@pytest.mark.parametrize("what", ["another's", "encrypted", "nonsense"])
async def test_a_key_that_can_not_be_used_is_a_configuration_error(site: Site, what: str) -> None:
    shown = trustme.CA().issue_cert("me")
    key = {
        "another's": shown_key(),
        "encrypted": shown_key(serialization.BestAvailableEncryption(b"secret")),
        "nonsense": b"nonsense",
    }[what]
    user = {
        "client-certificate-data": encoded(shown.cert_chain_pems[0].bytes()),
        "client-key-data": encoded(key),
    }
    client = site.client(None, user, scheme="https")
    with pytest.raises(ConfigError, match="the client's certificate and key can't be used"):
        await client.prepare()


async def test_the_name_in_the_certificate_may_be_another_one(tmp_path: Path) -> None:
    async with secure(tmp_path, "kubernetes.default") as (site, trusting):
        with pytest.raises(Unreachable, match="mismatch"):
            await get(site.client(trusting, scheme="https"))
        named = {**trusting, "tls-server-name": "kubernetes.default"}
        assert await get(site.client(named, scheme="https")) == b"hello"
        assert await get(site.client({"insecure-skip-tls-verify": True}, scheme="https"))


async def test_no_netrc_is_read(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("default login me password hidden\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    await get(site.client())
    assert "Authorization" not in site.requests[0].headers
    async with secure(tmp_path) as (tls_site, trusting):
        await get(tls_site.client(trusting, scheme="https"))
        assert tls_site.requests[0].headers["Authorization"] == "Bearer secret"


async def test_user_and_password_of_the_url_are_sent_and_not_shown(site: Site) -> None:
    client = site.client({"server": f"http://me:hidden@127.0.0.1:{site.port}"})
    await get(client)
    assert site.requests[0].headers["Authorization"] == "Basic bWU6aGlkZGVu"
    assert client.host == f"http://127.0.0.1:{site.port}"
    assert "hidden" not in repr(client)


async def test_impersonation_is_sent_whole(site: Site) -> None:
    user = {"as": "jane", "as-groups": ["a", "b"], "as-user-extra": {"x/y": ["1"]}}
    await get(site.client(None, user))
    headers = site.requests[0].headers
    assert headers["Impersonate-User"] == "jane"
    assert headers.getall("Impersonate-Group") == ["a", "b"]
    assert headers["Impersonate-Extra-x%2Fy"] == "1"


async def test_compression_is_asked_for_unless_it_is_disabled(site: Site) -> None:
    await get(site.client())
    await get(site.client({"disable-compression": True}))
    accepted = [request.headers["Accept-Encoding"] for request in site.requests]
    assert "gzip" in accepted[0]
    assert accepted[1] == "identity"


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".invalid", "a." * 130 + "invalid", "ü" * 70, "a..invalid", "-.invalid"]
)
async def test_a_host_that_has_no_address_is_unreachable(site: Site, host: str) -> None:
    with pytest.raises(Unreachable):
        await get(site.client({"server": f"https://{host}:6443"}))


async def test_headers_of_any_length_are_read(site: Site) -> None:
    async def lengthy(request: web.Request) -> web.Response:
        return web.Response(body=b"hello", headers={"Audit-Id": "x" * 100_000})

    site.handler = lengthy
    assert await get(site.client()) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"\0" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnonsense",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: gopher://a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=\xff\r\nContent-Length: 9\r\n\r\nshort",
        b"",
    ],
)
async def test_whatever_is_answered_is_an_error_of_ours(site: Site, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(KubernetesError):
            await get(site.client(port=port))
    finally:
        server.close()


async def test_more_than_a_hundred_streams_are_open_at_once(site: Site) -> None:
    held = asyncio.Event()
    arrived = asyncio.Semaphore(0)

    async def hold(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        arrived.release()
        await held.wait()
        return response

    site.handler = hold
    client = site.client()
    streams = [asyncio.create_task(get(client, read_timeout=60)) for _ in range(150)]
    for _ in streams:
        await arrived.acquire()
    held.set()
    assert await asyncio.gather(*streams) == [b""] * 150


async def test_those_who_wait_for_credentials_that_fail_share_the_failure(tmp_path: Path) -> None:
    class Failing:
        def __init__(self) -> None:
            self.loads = 0
            self.go_on = asyncio.Event()

        async def load(self) -> Connection:
            self.loads += 1
            await self.go_on.wait()
            raise ConfigError("the plugin failed")

        def forget(self, refused: Connection) -> None:
            raise AssertionError

    failing = Failing()
    client = Client(failing)
    waiting = [asyncio.create_task(get(client)) for _ in range(20)]
    await asyncio.sleep(0)
    failing.go_on.set()
    for each in waiting:
        with pytest.raises(Unreachable, match="the plugin failed"):
            await each
    assert failing.loads == 1
    with pytest.raises(Unreachable):
        await get(client)
    assert failing.loads == 2


class Proxy:
    """An HTTP proxy that connects wherever it is asked, and keeps the heads of requests."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.heads: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        if head.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            back.write(head.encode())
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
        except OSError:
            pass
        writer.close()


@asynccontextmanager
async def proxy(to: int) -> AsyncIterator[tuple[Proxy, str]]:
    """Serve as a proxy, and enter with it and its HOST:PORT."""
    handler = Proxy(to)
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield handler, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_proxy_is_asked_for_a_tunnel_with_its_own_password_alone(tmp_path: Path) -> None:
    async with secure(tmp_path, "api.test") as (site, trusting), proxy(site.port) as (seen, at):
        cluster = {**trusting, "server": "https://api.test:6443"}
        environ = {"HTTPS_PROXY": f"http://me:hidden@{at}", "NO_PROXY": "10.96.0.0/12"}
        assert await get(site.client(cluster, environ=environ)) == b"hello"
        [head] = seen.heads
        assert head.startswith("CONNECT api.test:6443 HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic bWU6aGlkZGVu\r\n" in head
        assert "secret" not in head
        assert "Proxy-Authorization" not in site.requests[0].headers
        own = {**cluster, "proxy-url": f"http://{at}"}
        assert await get(site.client(own, environ={"NO_PROXY": "*"})) == b"hello"
        assert len(seen.heads) == 2


async def test_a_label_that_is_too_long_for_dns_is_the_proxys_affair(site: Site) -> None:
    async with proxy(site.port) as (seen, at):
        long = f"http://{'a' * 64}.test"
        assert await get(site.client({"server": long, "proxy-url": f"http://{at}"})) == b"hello"
        assert seen.heads[0].startswith(f"GET {long}/api/v1/services?")


async def test_a_proxy_that_refuses_is_an_error_without_its_password(site: Site) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    try:
        at = f"http://me:hidden@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(KubernetesError, match="403") as caught:
            await get(site.client({"server": "https://api.test", "proxy-url": at}))
        assert "hidden" not in str(caught.value)
    finally:
        server.close()


async def test_a_new_configuration_leaves_open_streams_alone(site: Site) -> None:
    go_on = asyncio.Event()

    async def two_parts(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        if request.query:
            return response
        await go_on.wait()
        await response.write(b"two")
        return response

    site.handler = two_parts
    client = site.client()
    async with client.open("/", {}, connect_timeout=20, read_timeout=20) as stream:
        chunks = stream.chunks()
        assert await anext(chunks) == b"one"
        site.client({"tls-server-name": "another"})
        assert await get(client) == b"one"
        go_on.set()
        assert await anext(chunks) == b"two"


async def test_preparing_finds_what_can_not_work(tmp_path: Path) -> None:
    client = Client(Kubeconfig(tmp_path / "none"))
    with pytest.raises(ConfigError):
        await client.prepare()
    with pytest.raises(Unreachable, match="no such file"):
        await get(client)
    assert "not connected" in repr(client)
    await client.close()


async def test_a_ca_file_that_is_no_certificate_is_a_configuration_error(site: Site) -> None:
    (site.directory / "ca").write_text("nonsense")
    client = site.client({"certificate-authority": "ca"}, scheme="https")
    with pytest.raises(ConfigError, match="TLS can't be set up"):
        await client.prepare()
