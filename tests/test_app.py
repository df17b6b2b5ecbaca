"""The service as it is run: in a process of its own, on loopback."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
import grpc
import pytest
import trustme
import yaml
from aiohttp import web
from cryptography import x509

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from tests.certificates import showing
from tests.jwt import jwt, subject

SECONDS = 100.0


class Process:
    """A running `lookaside serve`, read by its JSON log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[dict[str, object]] = []

    async def event(self, name: str) -> dict[str, object]:
        """Wait for a log line."""
        assert self.process.stderr
        while True:
            line = await asyncio.wait_for(self.process.stderr.readline(), SECONDS)
            assert line, f"ended without {name!r}: {self.log}"
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == name:
                return self.log[-1]

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), SECONDS)


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[Process, str, str]]:
    """The process, its gRPC address and the URL of its admin port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lookaside", "serve", "--listen", "127.0.0.1:0"),
        *("--admin", "127.0.0.1:0", "--log-format", "json", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        running = Process(process)
        event = await running.event("serving")
        yield running, f"127.0.0.1:{event['port']}", f"http://127.0.0.1:{event['admin_port']}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def refused(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lookaside", "serve", "--log-format", "json", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    _, text = await asyncio.wait_for(process.communicate(), SECONDS)
    return cast("int", process.returncode), text.decode()


def write(path: Path, *addresses: str) -> Path:
    endpoints = [{"address": address} for address in addresses]
    draft = path.with_suffix(".new")
    draft.write_text(yaml.safe_dump({"services": {"greeter": {"endpoints": endpoints}}}))
    draft.replace(path)
    return path


def kubeconfig_for(path: Path, server: str) -> Path:
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "clusters": [{"name": "here", "cluster": {"server": server}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
            }
        )
    )
    return path


@pytest.mark.parametrize(("command", "code"), [("serve", 0), ("check", 143)])
async def test_sigterm_ends_a_start_that_waits_for_a_plugin_and_the_plugin_with_it(
    tmp_path: Path, command: str, code: int
) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/child\nwait\n")
    plugin.chmod(0o755)
    path = kubeconfig_for(tmp_path / "kubeconfig", "https://127.0.0.1:1")
    config = yaml.safe_load(path.read_text())
    api_version = "client.authentication.k8s.io/v1"
    execution = {"apiVersion": api_version, "command": "./plugin", "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": execution}
    path.write_text(yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lookaside", command, "--source", "kubernetes"),
        *("--kubeconfig", str(path), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    child = tmp_path / "child"
    async with asyncio.timeout(SECONDS):
        while not (child.exists() and child.read_text().strip()):  # noqa: ASYNC110 - no event comes
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == code
        while alive(int(child.read_text())):  # noqa: ASYNC110 - no event comes
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def watch(
    channel: grpc.aio.Channel,
) -> grpc.aio.UnaryStreamCall[pb.WatchServersRequest, pb.WatchServersResponse]:
    call: grpc.aio.UnaryStreamCall[pb.WatchServersRequest, pb.WatchServersResponse] = (
        LoadBalancerStub(channel).WatchServers(pb.WatchServersRequest(service_name="greeter"))
    )
    return call


async def addresses(
    call: grpc.aio.UnaryStreamCall[pb.WatchServersRequest, pb.WatchServersResponse],
) -> list[str]:
    message = await asyncio.wait_for(call.read(), SECONDS)
    assert isinstance(message, pb.WatchServersResponse)
    return [server.address for server in message.servers]


async def test_a_change_of_the_file_reaches_a_watch_and_a_broken_one_changes_nothing(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    async with (
        serving("--source", f"file:{path}") as (process, address, _),
        grpc.aio.insecure_channel(address) as channel,
    ):
        await process.event("synced")
        call = watch(channel)
        assert await addresses(call) == ["127.0.0.1:1"]
        write(path, "127.0.0.1:1", "127.0.0.1:2")
        assert await addresses(call) == ["127.0.0.1:1", "127.0.0.1:2"]
        path.write_text("services: {greeter: {endpoints: [{address: nowhere}]}}")
        event = await process.event("the last good list stays served")
        assert f"{path}:1:" in str(event["reason"])
        write(path, "127.0.0.1:3")
        assert await addresses(call) == ["127.0.0.1:3"]


async def test_a_file_that_is_refused_is_told_at_once_and_leaves_the_service_ready(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    name = f"file:{path}"
    async with (
        serving("--source", name) as (process, _, url),
        aiohttp.ClientSession(url) as session,
    ):
        await process.event("synced")
        assert await source_line(session, name) == [name, "synced", "1", "1", "-", "-"]
        path.write_text("services: {greeter: {endpoints: [{address: nowhere}]}}")
        reason = (await process.event("the last good list stays served"))["reason"]
        line = await source_line(session, name)
        assert line == [name, "failing", "1", "1", "-", *str(reason).split()]
        async with session.get("/readyz") as response:
            assert (response.status, await response.text()) == (200, "ok\n")
        async with session.get("/metrics") as response:
            counted = f'lookaside_source_errors_total{{reason="invalid",source="{name}"}} 1.0\n'
            assert counted in await response.text()
        write(path, "127.0.0.1:2")
        await process.event("the file is good again")
        assert await source_line(session, name) == [name, "synced", "1", "1", "-", "-"]


async def source_line(session: aiohttp.ClientSession, source: str) -> list[str]:
    """Return the words of a source's line on the status page."""
    async with session.get("/") as response:
        lines = (await response.text()).splitlines()
    return next(line.split() for line in lines if line.startswith(source))


async def test_sources_run_side_by_side_and_the_first_that_knows_a_service_has_it(
    tmp_path: Path,
) -> None:
    first = write(tmp_path / "first.yaml", "127.0.0.1:1")
    second = tmp_path / "second.yaml"
    second.write_text(
        "services: {greeter: {endpoints: [{address: 127.0.0.1:2}]}, "
        "other: {endpoints: [{address: 127.0.0.1:3}]}}"
    )
    sources = ("--source", f"file:{first}", "--source", f"file:{second}")
    async with (
        serving(*sources) as (process, address, _),
        grpc.aio.insecure_channel(address) as channel,
    ):
        for _source in range(2):
            await process.event("synced")
        call = watch(channel)
        assert await addresses(call) == ["127.0.0.1:1"]
        listed = await LoadBalancerStub(channel).ListServices(pb.ListServicesRequest())
        assert [(one.service, one.source) for one in listed.services] == [
            ("greeter.default", f"file:{first}"),
            ("other.default", f"file:{second}"),
        ]
        first.write_text("services: {}")
        assert await addresses(call) == ["127.0.0.1:2"]


async def test_sigterm_ends_watches_and_the_process_long_before_the_grace(tmp_path: Path) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    async with (
        serving("--source", f"file:{path}", "--grace", "10m") as (process, address, _),
        grpc.aio.insecure_channel(address) as channel,
    ):
        await process.event("synced")
        call = watch(channel)
        await addresses(call)
        assert await process.end() == 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await process.event("stopped")


async def test_ctrl_c_stops_as_sigterm_does(tmp_path: Path) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    async with serving("--source", f"file:{path}") as (process, _, _):
        await process.event("synced")
        assert await process.end(signal.SIGINT) == 0


async def test_the_admin_port_tells_of_readiness_metrics_and_state(tmp_path: Path) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    async with (
        serving("--source", f"file:{path}") as (process, address, url),
        grpc.aio.insecure_channel(address) as channel,
        aiohttp.ClientSession(url) as session,
    ):
        await process.event("synced")
        call = watch(channel)
        await addresses(call)
        async with session.get("/readyz") as response:
            assert (response.status, await response.text()) == (200, "ok\n")
        source = f'{{source="file:{path}"}}'
        expected = {
            f"lookaside_services{source} 1.0",
            f"lookaside_endpoints{source} 1.0",
            "lookaside_snapshots 1.0",
            "lookaside_watchers 1.0",
            "lookaside_pushes_total 1.0",
        }
        missing = expected
        # A client may hold a message a moment before the server has counted it.
        async with asyncio.timeout(SECONDS):
            while missing:
                async with session.get("/metrics") as response:
                    missing = expected - set((await response.text()).splitlines())
        async with session.get("/") as response:
            assert "greeter.default" in await response.text()
        call.cancel()


async def test_a_cluster_that_cannot_be_reached_leaves_the_service_up_and_not_ready(
    tmp_path: Path,
) -> None:
    kubeconfig = kubeconfig_for(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    async with (
        serving("--source", "kubernetes", "--kubeconfig", str(kubeconfig)) as (
            process,
            address,
            url,
        ),
        grpc.aio.insecure_channel(address) as channel,
        aiohttp.ClientSession(url) as session,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch(channel).read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        async with session.get("/readyz") as response:
            assert response.status == 503
            text = await response.text()
            assert text.startswith("kubernetes: the first list is still to come")
            assert "unreachable: the API server can't be reached" in text
        async with session.get("/livez") as response:
            assert response.status == 200
        assert await process.end() == 0


async def test_lists_are_served_over_tls_by_flags(tmp_path: Path) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    credentials = grpc.ssl_channel_credentials(ca.cert_pem.bytes())
    tls = ("--tls-cert", str(cert), "--tls-key", str(key))
    async with (
        serving("--source", f"file:{path}", *tls) as (process, address, _),
        grpc.aio.secure_channel(address, credentials) as channel,
    ):
        await process.event("synced")
        assert await addresses(watch(channel)) == ["127.0.0.1:1"]


async def test_a_service_that_is_open_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    async with serving("--source", f"file:{path}") as (process, _, _):
        assert [(line["level"], line["event"]) for line in process.log] == [
            (
                "warning",
                (
                    "authorization disabled: any caller may query any service; "
                    "restrict it with --allow"
                ),
            ),
            ("info", "serving"),
        ]


@asynccontextmanager
async def reviewing() -> AsyncIterator[tuple[web.AppRunner, str]]:
    """An API server to which the token `cart` is that of default/cart; how to stop it, its URL."""

    async def review(request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]
        user = {"username": "system:serviceaccount:default:cart"}
        good = {"authenticated": True, "user": user, "audiences": spec["audiences"]}
        return web.json_response(
            {"status": good if subject(spec["token"]) == "cart" else {}}, status=201
        )

    app = web.Application()
    app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", review)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_tokens_say_who_may_ask_for_what(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"
    services = {name: {"endpoints": [{"address": "127.0.0.1:1"}]} for name in ("cart", "bill.pay")}
    path.write_text(yaml.safe_dump({"services": services}))

    async def get(channel: grpc.aio.Channel, name: str, token: str) -> grpc.StatusCode:
        call = LoadBalancerStub(channel).GetServers(
            pb.GetServersRequest(service_name=name),
            metadata=grpc.aio.Metadata(("authorization", f"Bearer {jwt(sub=token)}")),
        )
        return cast("grpc.StatusCode", await call.code())

    async with reviewing() as (api_server, url):
        kubeconfig = kubeconfig_for(tmp_path / "kubeconfig", url)
        flags = ("--allow", "*=.", "--token-audience", "lb", "--kubeconfig", str(kubeconfig))
        async with (
            serving("--source", f"file:{path}", *flags) as (process, address, _),
            grpc.aio.insecure_channel(address) as channel,
        ):
            assert [line["event"] for line in process.log] == [
                "tokens are sent in plain text: anyone who sees one can use it; set --tls-cert",
                "serving",
            ]
            await process.event("synced")
            assert await get(channel, "cart", "cart") is grpc.StatusCode.OK
            assert await get(channel, "bill.pay", "cart") is grpc.StatusCode.PERMISSION_DENIED
            assert await get(channel, "cart", "other") is grpc.StatusCode.UNAUTHENTICATED
            await api_server.cleanup()
            assert await get(channel, "cart", "new") is grpc.StatusCode.UNAVAILABLE
            assert await get(channel, "cart", "cart") is grpc.StatusCode.OK
            event = await process.event("tokens can't be checked")
            assert "can't be reached" in str(event["reason"])
            assert await process.end() == 0
    assert "Bearer" not in str(process.log)


async def test_mutual_tls_says_who_may_ask_for_what(tmp_path: Path) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    ca = trustme.CA()
    own = ca.issue_cert("127.0.0.1")
    cert, key, client_ca = (tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt"))
    own.cert_chain_pems[0].write_to_path(cert)
    own.private_key_pem.write_to_path(key)
    ca.cert_pem.write_to_path(client_ca)
    tls = ("--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(client_ca))
    async with serving(
        *("--source", f"file:{path}", "--allow", "spiffe://corp/greeters/*=default", *tls)
    ) as (process, address, _):
        assert [line["event"] for line in process.log] == ["serving"]
        await process.event("synced")
        for name, code in (
            ("spiffe://corp/greeters/a", grpc.StatusCode.OK),
            ("spiffe://corp/others/a", grpc.StatusCode.PERMISSION_DENIED),
        ):
            credentials = showing(ca, ca, x509.UniformResourceIdentifier(name))
            async with grpc.aio.secure_channel(
                address, credentials, [("grpc.use_local_subchannel_pool", 1)]
            ) as channel:
                request = pb.GetServersRequest(service_name="greeter")
                assert await LoadBalancerStub(channel).GetServers(request).code() is code


IN_TURN = """
import json, sys
from click.testing import CliRunner
from lookaside.cli import main
results = [CliRunner().invoke(main, line) for line in json.load(sys.stdin)]
print(json.dumps([(result.exit_code, result.stderr) for result in results]))
"""


async def in_turn(lines: list[list[str]]) -> list[tuple[int, str]]:
    """Run command lines one after the other in a process; return their exit codes and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", IN_TURN),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    ran = process.communicate(json.dumps(lines).encode())
    said, _ = await asyncio.wait_for(ran, SECONDS)
    return [(code, text) for code, text in json.loads(said)]


async def test_what_cannot_work_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "endpoints.yaml", "127.0.0.1:1")
    broken = tmp_path / "broken.yaml"
    broken.write_text("services:\n  greeter: {endpoints: [{address: nowhere}]}\n")
    cases = [
        ([], "no source is given"),
        (["--source", f"file:{broken}"], f"{broken}:2:"),
        (["--source", f"file:{tmp_path}/none.yaml"], "none.yaml"),
        (
            ["--source", f"file:{path}", "--tls-cert", "no.crt", "--tls-key", "no.key"],
            "cannot read no.crt: No such file",
        ),
        (
            [
                *("--source", f"file:{path}", "--allow", "*=."),
                *("--token-audience", "lb", "--kubeconfig", f"{tmp_path}/no"),
            ],
            f"kubeconfig {tmp_path}/no: no such file",
        ),
        (
            ["--source", "kubernetes", "--kubeconfig", f"{tmp_path}/no"],
            f"kubeconfig {tmp_path}/no: no such file",
        ),
    ]
    common = ["--admin", "off", "--listen", "127.0.0.1:0", "--log-format", "json"]
    lines = [["serve", *common, *arguments] for arguments, _ in cases]
    outcomes = await in_turn(lines)
    for (_, sentence), (code, text) in zip(cases, outcomes, strict=True):
        assert code == 2, text
        assert text.startswith("Error: ")
        assert text.count("\n") == 1
        assert sentence in text


async def test_a_port_that_is_taken_ends_it_with_a_sentence_and_code_1(tmp_path: Path) -> None:
    source = ("--source", f"file:{write(tmp_path / 'endpoints.yaml', '127.0.0.1:1')}")
    async with serving(*source) as (_, taken, _):
        code, text = await refused(*source, "--admin", "off", "--listen", taken)

    assert (code, text) == (
        1,
        f"Error: listen {taken}: address already in use; another process listens there\n",
    )
