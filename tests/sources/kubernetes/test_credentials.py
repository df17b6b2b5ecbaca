import json
from pathlib import Path
from typing import Any

import pytest

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.credentials import InCluster, Kubeconfig, discover

ENVIRON = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}


def write_kubeconfig(path: Path, cluster: Any = None, user: Any = None) -> Path:
    contexts = [
        {"name": "one", "context": {"cluster": "one", "user": "me"}},
        {"name": "two", "context": {"cluster": "two", "user": "me"}},
    ]
    clusters = [
        {"name": "one", "cluster": cluster or {"server": "http://one:1"}},
        {"name": "two", "cluster": {"server": "http://two:2/"}},
    ]
    content = {
        "current-context": "one",
        "contexts": contexts,
        "clusters": clusters,
        "users": [{"name": "me", "user": user or {"token": "t"}}],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text("a certificate")
    return tmp_path


async def test_in_cluster_reads_the_token_each_time(mounted: Path) -> None:
    credentials = InCluster(mounted, ENVIRON)
    configuration = await credentials.load()
    assert configuration.host == "https://[fd00::1]:443"
    assert configuration.ssl_ca_cert == str(mounted / "ca.crt")
    assert configuration.api_key == {"BearerToken": "bearer first"}
    (mounted / "token").write_text("second")
    assert (await credentials.load()).api_key == {"BearerToken": "bearer second"}
    credentials.forget()


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_in_cluster_without_its_files(mounted: Path, missing: str) -> None:
    (mounted / missing).unlink()
    with pytest.raises(ConfigError, match=r"no in-cluster credentials: .*does not exist"):
        await InCluster(mounted, ENVIRON).load()


async def test_in_cluster_outside_a_cluster(mounted: Path) -> None:
    with pytest.raises(ConfigError, match="host/port is not set"):
        await InCluster(mounted, {}).load()


@pytest.mark.parametrize(
    ("context", "host"), [(None, "http://one:1"), ("one", "http://one:1"), ("two", "http://two:2")]
)
async def test_a_kubeconfig_has_contexts(tmp_path: Path, context: str | None, host: str) -> None:
    path = write_kubeconfig(tmp_path / "config")
    configuration = await Kubeconfig(path, context).load()
    assert configuration.host == host
    assert configuration.api_key == {"BearerToken": "Bearer t"}


async def test_a_kubeconfig_gives_tls_settings(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    path = write_kubeconfig(
        tmp_path / "config",
        {"server": "https://one", "certificate-authority": "ca", "tls-server-name": "api"},
        {"client-certificate": "cert", "client-key": "key"},
    )
    configuration = await Kubeconfig(path).load()
    assert configuration.ssl_ca_cert == str(tmp_path / "ca")
    assert configuration.cert_file == str(tmp_path / "cert")
    assert configuration.key_file == str(tmp_path / "key")
    assert configuration.tls_server_name == "api"
    assert configuration.api_key == {}


async def test_a_kubeconfig_and_its_token_file_are_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    path = write_kubeconfig(tmp_path / "config", user={"tokenFile": str(token)})
    credentials = Kubeconfig(path)
    assert (await credentials.load()).api_key == {"BearerToken": "Bearer first"}
    token.write_text("second\n")
    assert (await credentials.load()).api_key == {"BearerToken": "Bearer second"}
    write_kubeconfig(path, user={"token": "third-and-longer"})
    assert (await credentials.load()).api_key == {"BearerToken": "Bearer third-and-longer"}


async def test_several_kubeconfigs_are_merged(tmp_path: Path) -> None:
    first = write_kubeconfig(tmp_path / "first")
    (tmp_path / "second").write_text("{}")
    credentials = Kubeconfig(f"{first}:{tmp_path / 'none'}:{tmp_path / 'second'}")
    assert (await credentials.load()).host == "http://one:1"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "{}", '{"current-context": "x"}', '{"contexts": 5}', "\0"]
)
async def test_a_malformed_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^kubeconfig {path}: [^\n]+$"):
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
    kubeconfig: str | None, context: str | None, environ: dict[str, str], chosen: str
) -> None:
    assert repr(discover(kubeconfig, context, environ)) == chosen
