"""The admin port, over real HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import aiohttp
import pytest

from lookaside.admin import AdminServer, ServiceStatus, SourceStatus, Status
from lookaside.config import Listen
from lookaside.errors import ListenError
from lookaside.metrics import Metrics


@dataclass
class Service:
    """What the admin server asks."""

    metrics: Metrics = field(default_factory=lambda: Metrics("1.2.3"))
    reasons: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    status: Status = field(default_factory=lambda: Status("1.2.3", 61.5, 2, [], [], 0))

    def server(self, listen: Listen) -> AdminServer:
        return AdminServer(
            listen,
            self.metrics,
            not_ready=lambda: self.reasons,
            lacking=lambda: self.lacking,
            status=self.shown,
        )

    async def shown(self) -> Status:
        return self.status


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[aiohttp.ClientSession]:
    server = service.server(Listen("127.0.0.1", 0))
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield session
    finally:
        await server.stop()


async def get(session: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, str, str]:
    async with session.get(path, headers=headers) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def test_ready_is_told_with_the_reasons_why_not() -> None:
    service = Service(reasons=["source kubernetes: no list yet", "source file:x: no list yet"])

    async with serving(service) as session:
        status, _, text = await get(session, "/readyz")
        assert (status, text) == (
            503,
            "source kubernetes: no list yet\nsource file:x: no list yet\n",
        )
        service.reasons.clear()
        assert await get(session, "/readyz") == (200, "text/plain; charset=utf-8", "ok\n")
        service.lacking.append("kubernetes: nothing is known of namespace shop: forbidden")
        assert await get(session, "/readyz") == (
            200,
            "text/plain; charset=utf-8",
            "ok\nkubernetes: nothing is known of namespace shop: forbidden\n",
        )


async def test_it_is_live_while_it_is_not_ready() -> None:
    async with serving(Service(reasons=["draining"])) as session:
        assert await get(session, "/livez") == (200, "text/plain; charset=utf-8", "ok\n")


async def test_metrics_come_as_text_and_as_openmetrics() -> None:
    service = Service()
    service.metrics.pushed()

    async with serving(service) as session:
        status, kind, text = await get(session, "/metrics")
        assert (status, kind.split(";")[0]) == (200, "text/plain")
        assert "lookaside_pushes_total 1.0\n" in text

        accept = "application/openmetrics-text; version=1.0.0"
        status, kind, text = await get(session, "/metrics", Accept=accept)
        assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
        assert text.endswith("# EOF\n")


async def test_the_status_page_shows_sources_and_services() -> None:
    service = Service(
        status=Status(
            "1.2.3",
            61.5,
            2,
            [
                SourceStatus("kubernetes", "synced", 1, 3, 812),
                SourceStatus("file:a", "failing", 1, 0, trouble="a:1:2: no"),
            ],
            [
                ServiceStatus("greeter.shop:grpc", "kubernetes", "present", 3),
                ServiceStatus("b.x", "file:a", "stale", 0),
            ],
            2,
        )
    )

    async with serving(service) as session:
        status, kind, text = await get(session, "/")

    assert (status, kind) == (200, "text/plain; charset=utf-8")
    assert text == (
        "lookaside 1.2.3\n"
        "\n"
        "ready     yes\n"
        "uptime    61 s\n"
        "watchers  2\n"
        "\n"
        "SOURCE      STATE    SERVICES  ENDPOINTS  VERSION  ERROR\n"
        "kubernetes  synced   1         3          812      -\n"
        "file:a      failing  1         0          -        a:1:2: no\n"
        "\n"
        "SERVICE            STATE    ENDPOINTS  SOURCE\n"
        "greeter.shop:grpc  present  3          kubernetes\n"
        "b.x                stale    0          file:a\n"
        "\n"
        "see also  /metrics  /livez  /readyz\n"
    )


async def test_the_status_page_is_bounded() -> None:
    many = [ServiceStatus(f"s{number}.x", "k", "present", 1) for number in range(1000)]
    service = Service(reasons=["a", "b"], status=Status("1", 0, 0, [], many, 1005))

    async with serving(service) as session:
        _, _, text = await get(session, "/")

    assert "ready     no: a; b\n" in text
    assert "s999.x" in text
    assert "and 5 more\n" in text


async def test_what_is_not_there_is_not_found() -> None:
    async with serving(Service()) as session:
        status, _, _ = await get(session, "/nothing")

    assert status == 404


async def test_what_is_not_http_is_refused_and_leaves_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Service().server(Listen("127.0.0.1", 0))
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    finally:
        await server.stop()

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert caplog.records == []


async def test_what_goes_wrong_in_here_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> NoReturn:
        raise RuntimeError("broken")

    service = Service()
    server = AdminServer(
        Listen("127.0.0.1", 0),
        service.metrics,
        not_ready=broken,
        lacking=list,
        status=service.shown,
    )
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            status, _, _ = await get(session, "/readyz")
    finally:
        await server.stop()

    assert status == 500
    assert "RuntimeError: broken" in caplog.text


async def test_every_address_is_one_port_in_both_families() -> None:
    server = Service().server(Listen("", 0))
    await server.start()
    try:
        hosts = ["127.0.0.1"] + (["[::1]"] if socket.has_dualstack_ipv6() else [])
        for host in hosts:
            async with aiohttp.ClientSession() as session:
                status, _, _ = await get(session, f"http://{host}:{server.port}/livez")
                assert status == 200
    finally:
        await server.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
async def test_a_port_that_is_taken_is_refused(host: str) -> None:
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        server = Service().server(Listen(host, port))

        with pytest.raises(ListenError) as refused:
            await server.start()

    assert str(refused.value).startswith(f"admin {host}:{port}: can't listen: ")
    assert "in use" in str(refused.value)


async def test_it_has_no_port_before_its_start_and_after_its_stop() -> None:
    server = Service().server(Listen("127.0.0.1", 0))
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.port

    await server.start()
    assert repr(server) == f"<AdminServer 127.0.0.1:0 port {server.port}>"
    await server.stop()
    await server.stop()

    assert repr(server) == "<AdminServer 127.0.0.1:0 stopped>"


async def test_what_is_not_http_is_counted() -> None:
    service = Service()
    async with serving(service) as session:
        assert session._base_url is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", session._base_url.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 20)
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
    counted = b"lookaside_malformed_admin_requests_total 1.0"
    assert counted in service.metrics.expose()[0].splitlines()
