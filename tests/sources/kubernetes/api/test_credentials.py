import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api.connection import Connection, Tls
from lookaside.sources.kubernetes.api.credentials import InCluster, Kubeconfig, discover

ENVIRON = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
V1 = "client.authentication.k8s.io/v1"


def write_kubeconfig(path: Path, cluster: Any = None, user: Any = None) -> Path:
    contexts = [
        {"name": "one", "context": {"cluster": "one", "user": "me"}},
        {"name": "two", "context": {"cluster": "two", "user": "me"}},
    ]
    clusters = [
        {"name": "one", "cluster": {"server": "https://one:1", **(cluster or {})}},
        {"name": "two", "cluster": {"server": "https://two:2/"}},
    ]
    content = {
        "current-context": "one",
        "contexts": contexts,
        "clusters": clusters,
        "users": [{"name": "me", "user": {"token": "t"} if user is None else user}],
    }
    path.write_text(json.dumps(content))
    return path


async def load(
    directory: Path, cluster: Any = None, user: Any = None, **environ: str
) -> Connection:
    path = write_kubeconfig(directory / "config", cluster, user)
    return await Kubeconfig(path, environ=environ).load()


def basic(pair: str) -> tuple[str, str]:
    return ("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text("a certificate")
    return tmp_path


async def test_in_cluster_reads_the_token_and_the_ca_each_time(mounted: Path) -> None:
    credentials = InCluster(mounted, ENVIRON)
    connection = await credentials.load()
    assert connection == Connection(
        "https://[fd00::1]",
        Tls(ca=b"a certificate"),
        headers=(("Authorization", "Bearer first"),),
    )
    credentials.forget(connection)
    (mounted / "token").write_text("second")
    (mounted / "ca.crt").write_text("another")
    connection = await credentials.load()
    assert connection.headers == (("Authorization", "Bearer second"),)
    assert connection.tls == Tls(ca=b"another")


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_in_cluster_without_its_files(mounted: Path, missing: str) -> None:
    (mounted / missing).unlink()
    with pytest.raises(ConfigError, match=rf"no in-cluster credentials: .*{missing} can't be read"):
        await InCluster(mounted, ENVIRON).load()


async def test_in_cluster_with_an_empty_token(mounted: Path) -> None:
    (mounted / "token").write_text("\n")
    with pytest.raises(ConfigError, match=r"no in-cluster credentials: .*token is empty"):
        await InCluster(mounted, ENVIRON).load()


async def test_in_cluster_outside_a_cluster(mounted: Path) -> None:
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_PORT are not set"):
        await InCluster(mounted, {"KUBERNETES_SERVICE_HOST": "host"}).load()


async def test_in_cluster_goes_through_a_proxy_unless_it_is_in_no_proxy(mounted: Path) -> None:
    environ = {**ENVIRON, "HTTPS_PROXY": "http://proxy:1"}
    assert (await InCluster(mounted, environ).load()).proxy == "http://proxy:1"
    environ["NO_PROXY"] = "fd00::/8"
    assert (await InCluster(mounted, environ).load()).proxy == ""


@pytest.mark.parametrize(
    ("context", "server"),
    [(None, "https://one:1"), ("one", "https://one:1"), ("two", "https://two:2")],
)
async def test_a_kubeconfig_has_contexts(tmp_path: Path, context: str | None, server: str) -> None:
    path = write_kubeconfig(tmp_path / "config")
    assert await Kubeconfig(path, context).load() == Connection(
        server, headers=(("Authorization", "Bearer t"),)
    )


async def test_a_kubeconfig_gives_tls_settings(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    found = await load(
        tmp_path,
        {"server": "https://one", "certificate-authority": "ca", "tls-server-name": "api"},
        {"client-certificate": "cert", "client-key-data": base64.b64encode(b"data").decode()},
    )
    assert found == Connection("https://one", Tls(b"ca", b"cert", b"data", True, "api"))
    assert not (await load(tmp_path, {"insecure-skip-tls-verify": True})).tls.verify
    assert not (await load(tmp_path, {"disable-compression": True})).compression


@pytest.mark.parametrize("file", ["certificate-authority", "client-certificate", "tokenFile"])
async def test_a_file_that_can_not_be_read_is_named(tmp_path: Path, file: str) -> None:
    fields = {file: "none", **({"client-key": "k"} if file.startswith("client") else {})}
    cluster = fields if file == "certificate-authority" else None
    with pytest.raises(ConfigError, match=rf"{tmp_path}/none can't be read: No such file"):
        await load(tmp_path, cluster, {} if cluster else fields)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("https://api", "https://api"),
        ("https://api:6443/", "https://api:6443"),
        ("https://api/k8s/clusters/c-1/", "https://api/k8s/clusters/c-1"),
        ("https://api/p?q=1#f", "https://api/p"),
        ("https://[fd00::1]:6443", "https://[fd00::1]:6443"),
        ("HTTPS://API", "https://api"),
        ("api:6443", "http://api:6443"),
        ("localhost", "http://localhost"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001"),
    ],
)
async def test_a_server_is_a_url_or_a_host(tmp_path: Path, server: str, expected: str) -> None:
    assert (await load(tmp_path, {"server": server})).server == expected


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("ftp://api", "server has the scheme 'ftp'; expected http or https"),
        ("https://", "server names no host"),
        ("https://api:port", "server is no URL"),
        ("https://[::1", "server is no URL"),
        ("api/prefix", "server 'api/prefix' is neither a URL nor HOST:PORT"),
        ("unix:///run/api", "server has the scheme 'unix'"),
    ],
)
async def test_a_server_that_is_none_is_named(tmp_path: Path, server: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        await load(tmp_path, {"server": server})


@pytest.mark.parametrize(
    ("server", "user", "headers"),
    [
        ("https://api", {}, ()),
        ("https://api", {"token": "t"}, (("Authorization", "Bearer t"),)),
        ("https://api", {"username": "u", "password": "p"}, (basic("u:p"),)),
        ("https://api", {"username": "u"}, (basic("u:"),)),
        ("https://me:p%40w@api", {}, (basic("me:p@w"),)),
        ("https://me@api", {}, (basic("me:"),)),
        ("https://me:pw@api", {"token": "t"}, (basic("me:pw"),)),
        ("http://api", {"token": "t"}, ()),
        ("http://api", {"username": "u", "password": "p"}, ()),
        ("http://me:pw@api", {"token": "t"}, (basic("me:pw"),)),
        ("http://api", {"as": "jane"}, (("Impersonate-User", "jane"),)),
        (
            "https://api",
            {"token": "t", "as": "jane"},
            (("Authorization", "Bearer t"), ("Impersonate-User", "jane")),
        ),
    ],
)
async def test_who_one_is_is_said_in_headers(
    tmp_path: Path, server: str, user: dict[str, str], headers: tuple[tuple[str, str], ...]
) -> None:
    found = await load(tmp_path, {"server": server}, user)
    assert found.headers == headers
    assert "@" not in found.server
    assert "pw" not in repr(found)


@pytest.mark.parametrize("user", [{"token": "t\nX: y"}, {"as": "a\0"}])
async def test_what_no_header_can_hold_is_refused(tmp_path: Path, user: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="can't hold a line end or a control character"):
        await load(tmp_path, user=user)


async def test_a_token_file_goes_before_a_token_while_it_can_be_read(tmp_path: Path) -> None:
    user = {"token": "t", "tokenFile": "file"}
    assert (await load(tmp_path, user=user)).headers == (("Authorization", "Bearer t"),)
    (tmp_path / "file").write_text(" f\n")
    assert (await load(tmp_path, user=user)).headers == (("Authorization", "Bearer f"),)


async def test_a_proxy_of_the_cluster_goes_before_the_environments(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "http://env:1", "NO_PROXY": "two"}
    assert (await load(tmp_path, **environ)).proxy == "http://env:1"
    assert (await load(tmp_path, {"server": "https://two"}, **environ)).proxy == ""
    own = {"server": "https://two", "proxy-url": "http://own:2"}
    assert (await load(tmp_path, own, **environ)).proxy == "http://own:2"
    with pytest.raises(ConfigError, match="proxy-url names a SOCKS proxy"):
        await load(tmp_path, {"proxy-url": "socks5://own:2"})


async def test_a_kubeconfig_and_its_token_file_are_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    path = write_kubeconfig(tmp_path / "config", user={"tokenFile": str(token)})
    credentials = Kubeconfig(path)
    assert (await credentials.load()).headers == (("Authorization", "Bearer first"),)
    token.write_text("second\n")
    assert (await credentials.load()).headers == (("Authorization", "Bearer second"),)
    write_kubeconfig(path, user={"token": "third"})
    assert (await credentials.load()).headers == (("Authorization", "Bearer third"),)


async def test_the_files_of_the_variable_are_merged_and_the_first_context_is_the_current_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "unset").write_text("current-context: ''")
    first = write_kubeconfig(tmp_path / "first")
    second = write_kubeconfig(tmp_path / "second", {"server": "https://wrong"})
    second.write_text(second.read_text().replace('"one"', '"other"', 1))
    names = [tmp_path / "none", tmp_path / "empty", tmp_path / "unset", "", first, first, second]
    environ = {"KUBECONFIG": ":".join(map(str, names))}
    assert (await Kubeconfig(environ=environ).load()).server == "https://one:1"


async def test_a_file_that_is_named_is_one_file(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "a:b")
    assert (await Kubeconfig(path).load()).server == "https://one:1"
    with pytest.raises(ConfigError, match="no such file"):
        await Kubeconfig(f"{path}:{path}").load()


def plugin(directory: Path, script: str) -> dict[str, Any]:
    path = directory / "plugin"
    path.write_text(f"#!/bin/sh\necho run >> {directory}/runs\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    execution = {"apiVersion": V1, "command": "./plugin", "interactiveMode": "Never"}
    return {"exec": execution}


def gives(**status: str) -> str:
    body = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
    return f"echo '{json.dumps(body)}'"


def runs(directory: Path) -> int:
    file = directory / "runs"
    return file.read_text().count("run") if file.exists() else 0


async def test_a_plugin_is_asked_once_until_it_is_refused(tmp_path: Path) -> None:
    user = plugin(tmp_path, gives(token="first", expirationTimestamp="2999-01-01T00:00:00Z"))
    path = write_kubeconfig(tmp_path / "config", user=user)
    credentials = Kubeconfig(path)
    first = await credentials.load()
    assert first.headers == (("Authorization", "Bearer first"),)
    assert await credentials.load() == first
    write_kubeconfig(path, {"server": "https://moved"}, user)
    assert (await credentials.load()).server == "https://moved"
    assert runs(tmp_path) == 1
    plugin(tmp_path, gives(token="second"))
    credentials.forget(await credentials.load())
    second = await credentials.load()
    assert second.headers == (("Authorization", "Bearer second"),)
    credentials.forget(first)
    assert await credentials.load() == second
    assert runs(tmp_path) == 2
    other = {**user["exec"], "args": ["other"]}
    write_kubeconfig(path, user={"exec": other})
    await credentials.load()
    assert runs(tmp_path) == 3


async def test_a_plugins_certificate_is_shown(tmp_path: Path) -> None:
    user = plugin(tmp_path, gives(clientCertificateData="cert", clientKeyData="key"))
    found = await load(tmp_path, user=user)
    assert (found.tls, found.headers) == (Tls(certificate=b"cert", key=b"key"), ())


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        ({}, {"token": "t"}),
        ({}, {"username": "u"}),
        ({}, {"client-certificate-data": "Yw==", "client-key-data": "aw=="}),
        ({"server": "http://one"}, {}),
    ],
)
async def test_a_plugin_is_not_asked_where_something_goes_before_it(
    tmp_path: Path, cluster: dict[str, str], user: dict[str, str]
) -> None:
    await load(tmp_path, cluster, {**plugin(tmp_path, "exit 1"), **user})
    assert runs(tmp_path) == 0


async def test_a_plugin_that_fails_is_an_error_that_names_file_and_plugin(tmp_path: Path) -> None:
    said = rf"^kubeconfig {tmp_path}/config: the exec plugin '{tmp_path}/plugin' failed .*: why$"
    with pytest.raises(ConfigError, match=said):
        await load(tmp_path, user=plugin(tmp_path, "echo why >&2; exit 1"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "{}", '{"current-context": "x"}', '{"contexts": 5}', "\0"]
)
async def test_a_malformed_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"^kubeconfig {path}(:\d+:\d+)?: [^\n]+$"):
        await Kubeconfig(path).load()


@pytest.mark.parametrize("environ", [{}, {"KUBECONFIG": "/none"}])
async def test_a_kubeconfig_that_nobody_named_is_refused_with_what_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        await Kubeconfig(environ=environ).load()
    where = environ.get("KUBECONFIG", "~/.kube/config")
    hint = "--kubeconfig or KUBECONFIG says where it is"
    assert str(caught.value) == f"kubeconfig {where}: no such file; {hint}"


async def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config")
    with pytest.raises(ConfigError, match="three"):
        await Kubeconfig(path, "three").load()


@pytest.mark.parametrize(
    ("kubeconfig", "context", "environ", "chosen"),
    [
        (None, None, ENVIRON, "InCluster('/var/run/secrets/kubernetes.io/serviceaccount')"),
        (None, None, {}, "Kubeconfig('~/.kube/config', None)"),
        (None, None, {"KUBECONFIG": "/a:/b"}, "Kubeconfig('/a:/b', None)"),
        ("/c", None, ENVIRON, "Kubeconfig('/c', None)"),
        (None, "two", ENVIRON, "Kubeconfig('~/.kube/config', 'two')"),
    ],
)
def test_discovery(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kubeconfig: str | None,
    context: str | None,
    environ: dict[str, str],
    chosen: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert repr(discover(kubeconfig, context, environ)) == chosen


@pytest.mark.parametrize("text", ["", "{}", "{"])
def test_in_a_pod_a_kubeconfig_is_used_where_it_says_anything(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    environ = {**ENVIRON, "KUBECONFIG": str(path)}
    used = InCluster if text in ("", "{}") else Kubeconfig
    assert isinstance(discover(environ=environ), used)
    write_kubeconfig(path)
    assert isinstance(discover(environ=environ), Kubeconfig)
