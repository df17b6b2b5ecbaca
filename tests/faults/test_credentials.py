"""Tokens that expire and certificates that change under a running source."""

import json
import stat
from pathlib import Path

import pytest
import trustme

from lookaside.sources.kubernetes import (
    InCluster,
    Kubeconfig,
)
from tests.faults.apiserver import SERVICES, SLICES, ApiServer, service_json, slice_json
from tests.faults.conftest import World, server_context


async def reconnect(world: World) -> None:
    """End every watch, so that the source asks again, and wait until it follows."""
    for watcher in world.server.open_watches():
        watcher.abort()
    await world.server.until(lambda: not world.server.open_watches())
    await world.server.watched()


async def test_a_token_that_was_rotated_is_read_again(secure_world: World, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    config = secure_world.kubeconfig(tokenFile=str(token))
    secure_world.server.tokens = {"old"}
    await secure_world.start_synced(credentials=Kubeconfig(config))
    secure_world.server.tokens = {"new"}
    for watcher in secure_world.server.open_watches():
        watcher.end()
    await secure_world.observer.failed("unauthorized", times=4)
    assert secure_world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    token.write_text("new\n")
    await secure_world.server.watched()
    assert secure_world.server.requests[-1].token == "new"
    assert secure_world.server.count("stream", "list") == 2


async def test_a_kubeconfig_that_was_rewritten_is_read_again(secure_world: World) -> None:
    secure_world.server.tokens = {"old"}
    await secure_world.start_synced(credentials=Kubeconfig(secure_world.kubeconfig(token="old")))
    secure_world.server.tokens = {"brand-new"}
    secure_world.kubeconfig(token="brand-new")
    await reconnect(secure_world)
    assert secure_world.server.requests[-1].token == "brand-new"


async def test_an_exec_plugin_is_run_again_when_its_token_is_refused(
    secure_world: World, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\ncat {tmp_path}/credential\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)

    def give(token: str) -> None:
        (tmp_path / "credential").write_text(
            json.dumps(
                {
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "kind": "ExecCredential",
                    "status": {"token": token, "expirationTimestamp": "2999-01-01T00:00:00Z"},
                }
            )
        )

    give("first")
    path = secure_world.kubeconfig()
    config = json.loads(path.read_text())
    execution = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    config["users"][0]["user"] = {"exec": execution}
    path.write_text(json.dumps(config))
    secure_world.server.tokens = {"first"}
    await secure_world.start_synced(credentials=Kubeconfig(path))
    assert (tmp_path / "runs").read_text().count("run") == 1
    give("second")
    secure_world.server.tokens = {"second"}
    await reconnect(secure_world)
    assert secure_world.server.requests[-1].token == "second"
    assert secure_world.observer.errors["unauthorized"] >= 1


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    directory = tmp_path / "serviceaccount"
    directory.mkdir()
    (directory / "token").write_text("mounted\n")
    return directory


async def test_a_rotated_ca_is_trusted_without_a_restart(
    tmp_path: Path, service_account: Path
) -> None:
    old, new = trustme.CA(), trustme.CA()
    ca = service_account / "ca.crt"
    ca.write_bytes(old.cert_pem.bytes())
    server = ApiServer(tls=server_context(old))
    server.tokens = {"mounted"}
    server.put(SERVICES, service_json())
    server.put(SLICES, slice_json("greeter-1", "10.0.0.1"))
    await server.start()
    world = World(server, tmp_path)
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    try:
        await world.start_synced(credentials=InCluster(service_account, environ))
        await server.stop()
        server.tls = server_context(new)
        await server.start()
        await world.observer.failed("unreachable", times=6)
        assert world.feed.addresses == ["10.0.0.1"]
        ca.write_bytes(new.cert_pem.bytes())
        await server.watched()
        server.put(SLICES, slice_json("greeter-1", "10.0.0.2"))
        await world.feed.shows("10.0.0.2")
        assert server.count("stream", "list") == 2
    finally:
        await world.stop()
        await server.stop()


async def test_credentials_that_vanish_for_a_while_are_a_failure_like_others(
    world: World, tmp_path: Path
) -> None:
    path = world.kubeconfig()
    await world.start_synced(credentials=Kubeconfig(path))
    text = path.read_text()
    path.write_text("{")
    for watcher in world.server.open_watches():
        watcher.end()
    await world.observer.failed("unreachable", times=4)
    path.unlink()
    await world.observer.failed("unreachable", times=8)
    path.write_text(text)
    await world.server.watched()
    assert world.server.count("stream", "list") == 2
