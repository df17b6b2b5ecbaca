"""The client against a web server on loopback."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
from aiohttp import web

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.client import Client, Stream
from lookaside.sources.kubernetes.credentials import Kubeconfig
from lookaside.sources.kubernetes.errors import (
    ApiStatus,
    Broken,
    KubernetesError,
    Oversized,
    Silent,
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
        self, cluster: dict[str, str] | None = None, *, scheme: str = "http", port: int = 0
    ) -> Client:
        path = self.directory / "config"
        server = f"{scheme}://127.0.0.1:{port or self.port}"
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
        }
        path.write_text(json.dumps(content))
        client = Client(Kubeconfig(path), user_agent="lookaside/test")
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
    app.router.add_get("/{path:.*}", handler)
    return app


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.start()
    yield site
    await site.close()


async def get(client: Client, *, limit: int = 1000, read_timeout: float = 5.0) -> bytes:
    query = {"continue": "a=b/c+d", "limit": "5"}
    async with client.open(
        "/api/v1/services", query, connect_timeout=5.0, read_timeout=read_timeout
    ) as stream:
        return await stream.read(limit)


async def test_a_request_is_as_it_must_be(site: Site) -> None:
    assert await get(site.client()) == b"hello"
    [request] = site.requests
    assert request.path == "/api/v1/services"
    assert dict(request.query) == {"continue": "a=b/c+d", "limit": "5"}
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["User-Agent"] == "lookaside/test"
    assert request.headers["Accept"] == "application/json"


async def test_what_is_accepted_can_be_said(site: Site) -> None:
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
    async with site.client().open(
        "/", {}, accept=accept, connect_timeout=5.0, read_timeout=5.0
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
    with pytest.raises(Oversized, match="4 bytes"):
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
    with pytest.raises(Silent):
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
    with pytest.raises(Broken):
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
    async with site.client().open("/", {}, connect_timeout=5.0, read_timeout=5.0) as stream:
        assert await asyncio.wait_for(follow(stream), 1.0) == [b"one"]


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
                async with client.open("/", {}, connect_timeout=0.05, read_timeout=5.0):
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
    async with client.open("/", {}, connect_timeout=5.0, read_timeout=5.0) as stream:
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
