"""Exec plugins, as programs of the shell."""

import asyncio
import base64
import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api.exec_credentials import Credential, ExecPlugin
from lookaside.sources.kubernetes.api.kubeconfig_entries import Cluster, Exec

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"

Script = Callable[..., ExecPlugin]


def answer(version: str = V1, **status: str) -> str:
    return json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": status})


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def script(tmp_path: Path, clock: Clock) -> Script:
    """Return what makes plugins of a shell's commands; each run is a line of the file `runs`."""

    def make(
        commands: str,
        *,
        cluster: Cluster | None = None,
        ca: bytes | None = None,
        timeout: float = 60.0,
        **fields: Any,
    ) -> ExecPlugin:
        path = tmp_path / "plugin"
        path.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\n{commands}\n")
        path.chmod(0o755)
        given = {
            "command": str(path),
            "args": (),
            "env": (),
            "api_version": V1,
            "install_hint": "",
            "provide_cluster_info": False,
            **fields,
        }
        return ExecPlugin(
            Exec(**given),
            cluster or Cluster("https://api"),
            ca,
            dict(os.environ),
            timeout=timeout,
            now=clock,
        )

    return make


def prints(text: str) -> str:
    return f"echo {shlex.quote(text)}"


def runs(directory: Path) -> int:
    return (directory / "runs").read_text().count("run")


async def test_a_token_is_taken(script: Script) -> None:
    plugin = script(prints(answer(token="t")))
    assert await plugin.credential() == Credential("t", None, None, None)


async def test_a_certificate_is_taken(script: Script) -> None:
    plugin = script(prints(answer(clientCertificateData="cert", clientKeyData="key")))
    assert await plugin.credential() == Credential("", b"cert", b"key", None)


async def test_a_credential_holds_until_it_expires(
    script: Script, clock: Clock, tmp_path: Path
) -> None:
    clock.seconds = 946_684_799.0  # a second before 2000
    plugin = script(prints(answer(token="t", expirationTimestamp="2000-01-01T01:00:00+01:00")))
    for _ in range(3):
        assert (await plugin.credential()).expires == 946_684_800.0
    clock.seconds += 1.0
    await plugin.credential()
    assert runs(tmp_path) == 1
    clock.seconds += 0.1
    await plugin.credential()
    assert runs(tmp_path) == 2


async def test_a_credential_without_an_end_holds_until_it_is_refused(
    script: Script, clock: Clock, tmp_path: Path
) -> None:
    plugin = script(prints(answer(token="t")))
    await plugin.credential()
    clock.seconds += 1e9
    await plugin.credential()
    assert runs(tmp_path) == 1
    plugin.forget()
    await plugin.credential()
    assert runs(tmp_path) == 2


async def test_a_plugin_has_its_arguments_and_the_environment_with_its_own(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "one")
    monkeypatch.setenv("CHANGED", "old")
    plugin = script(
        f"""printf '{answer(token="%s")}' "$INHERITED,$CHANGED,$1,$2,$#" """,
        args=("a b", ""),
        env=(("CHANGED", "new"),),
    )
    assert (await plugin.credential()).token == "one,new,a b,,2"


@pytest.mark.parametrize("version", [V1, V1BETA1])
async def test_a_plugin_is_told_that_it_has_no_terminal(
    script: Script, tmp_path: Path, version: str
) -> None:
    commands = f'echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; cat; '
    plugin = script(commands + prints(answer(version, token="t")), api_version=version)
    await plugin.credential()
    told = json.loads((tmp_path / "info").read_text())
    assert told == {"kind": "ExecCredential", "apiVersion": version, "spec": {"interactive": False}}


async def test_a_plugin_that_asks_for_it_is_told_of_the_cluster(
    script: Script, tmp_path: Path
) -> None:
    cluster = Cluster(
        "https://api:6443/prefix",
        tls_server_name="name",
        proxy_url="http://proxy:1",
        compression=False,
        exec_config={"audience": ["a"]},
    )
    commands = f'echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; '
    plugin = script(
        commands + prints(answer(token="t")), cluster=cluster, ca=b"pem", provide_cluster_info=True
    )
    await plugin.credential()
    assert json.loads((tmp_path / "info").read_text())["spec"]["cluster"] == {
        "server": "https://api:6443/prefix",
        "tls-server-name": "name",
        "certificate-authority-data": base64.b64encode(b"pem").decode(),
        "proxy-url": "http://proxy:1",
        "disable-compression": True,
        "config": {"audience": ["a"]},
    }


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ("exit 3", r"failed with exit code 3$"),
        ("echo 'log in\n  first' >&2; exit 1", r"failed with exit code 1: log in first$"),
        (r"printf 'a\033[1mb' >&2; exit 1", r"exit code 1: a\?\[1mb$"),
        ("kill -9 $$", r"failed with exit code -9$"),
        ("true", "prints no ExecCredential"),
        ("echo '[]'", "prints no ExecCredential"),
        (prints("{" * 200_000), "prints no ExecCredential"),
        (prints(answer()), "neither a token nor a certificate"),
        (prints(answer(V1BETA1, token="t")), f"expected an ExecCredential of {V1}"),
        (prints(answer(clientKeyData="k")), "a certificate or a key, and not both"),
        (prints(answer(token="t", expirationTimestamp="soon")), "prints no ExecCredential"),
        (prints(json.dumps({"kind": "ExecCredential", "apiVersion": V1})), "without a status"),
        ("yes", "prints more than 1048576 bytes"),
    ],
)
async def test_a_plugin_that_fails_says_how(script: Script, commands: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^the exec plugin '[^']+plugin' .*{said}"):
        await script(commands).credential()


@pytest.mark.parametrize("command", ["no-such-plugin", "/none/plugin"])
async def test_a_plugin_that_is_not_installed_says_how_to_install_it(
    script: Script, command: str
) -> None:
    plugin = script("", command=command, install_hint="  To install it,\n  \033ask.\n")
    with pytest.raises(ConfigError) as caught:
        await plugin.credential()
    assert str(caught.value) == f"the exec plugin '{command}' is not found: To install it, ?ask."


async def test_no_secret_is_in_an_error_or_a_repr(script: Script) -> None:
    plugin = script(prints(answer(token="hidden")))
    assert "hidden" not in repr(await plugin.credential())
    assert "hidden" not in repr(plugin)
    with pytest.raises(ConfigError) as caught:
        await script(prints('{"status": {"token": ["hidden"]}}')).credential()
    assert "hidden" not in str(caught.value)


HANGING = "echo $$ > {directory}/leader; sleep 1000 & echo $! > {directory}/child; wait"


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what other processes do, of which no event comes."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def started(directory: Path) -> list[int]:
    """Wait until a hanging plugin runs, and return its processes."""
    files = [directory / "leader", directory / "child"]
    await until(lambda: all(file.exists() and file.read_text().strip() for file in files))
    return [int(file.read_text()) for file in files]


async def gone(processes: list[int]) -> None:
    """Wait until none of the processes is alive; a zombie is its parent's to reap."""
    await until(lambda: not any(_alive(pid) for pid in processes))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_plugin_that_takes_too_long_ends_with_its_children(
    script: Script, tmp_path: Path
) -> None:
    plugin = script(HANGING.format(directory=tmp_path), timeout=0.5)
    with pytest.raises(ConfigError, match=r"has not ended within 0.5 s$"):
        await plugin.credential()
    # On a busy machine it may have come to none.
    if (child := tmp_path / "child").exists() and child.read_text().strip():
        await gone(await started(tmp_path))


async def test_a_run_that_is_cancelled_ends_with_its_children(
    script: Script, tmp_path: Path
) -> None:
    task = asyncio.create_task(script(HANGING.format(directory=tmp_path)).credential())
    processes = await started(tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(processes)


async def test_what_a_plugin_leaves_behind_is_ended(script: Script, tmp_path: Path) -> None:
    commands = f"sleep 1000 > /dev/null 2>&1 & echo $! > {tmp_path}/child; "
    (tmp_path / "leader").write_text("0")
    assert (await script(commands + prints(answer(token="t"))).credential()).token == "t"
    await gone([int((tmp_path / "child").read_text())])
