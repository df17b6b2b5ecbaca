"""`lookaside check`: files, names, TLS and ports by the command, and an API server on loopback."""

import errno
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
import yaml
from aiohttp import web
from click.testing import CliRunner, Result

from lookaside.cli import main
from lookaside.cli.checks import preflight
from lookaside.cli.checks.outcome import Outcome
from lookaside.cli.render import output
from lookaside.config import OTHER_VARIABLES, Settings, SourceSetting
from lookaside.config.access import allowance

GOOD = "services: {greeter: {endpoints: [{address: 10.0.0.1:1}, {address: 10.0.0.2:1}]}, idle: "
GOOD += "{endpoints: []}}\n"
EVERYONE = allowance("*=*")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "services.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def check(file: Path) -> Callable[..., Result]:
    """Run the command with that file as a source."""

    def invoke(*arguments: str) -> Result:
        common = ["--source", f"file:{file}", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        result = CliRunner().invoke(main, ["check", *common, *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def row(result: Result, check: str) -> list[str]:
    """The result, what it says and the hint of one check."""
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    [found] = [cells for cells in rows if cells[1] == check]
    return [found[0], *found[2:]]


def test_what_can_run_is_ok_and_code_0(check: Callable[..., Result], file: Path) -> None:
    result = check()

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "RESULT\tCHECK\tSAYS\tHINT",
        f"ok\tsettings\tsources file:{file}\t-",
        f"ok\tfile:{file}\tservices 2, endpoints 2\t-",
        (
            "warning\taccess\tauthorization disabled: any caller may query any service\t"
            "restrict that with --allow"
        ),
        "ok\tlisten 127.0.0.1:0\tthe system chooses a port\t-",
        "ok\tadmin 127.0.0.1:0\tthe system chooses a port\t-",
    ]


def test_a_terminal_gets_lines_with_the_hint_below(
    check: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)

    assert check("--no-ports").stdout.splitlines()[2:] == [
        "warning  access: authorization disabled: any caller may query any service",
        "         restrict that with --allow",
    ]


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_get_a_document(
    check: Callable[..., Result], form: str, read: Callable[[str], Any]
) -> None:
    document = read(check("--no-ports", "-o", form).stdout)

    assert document["checks"][-1] == {
        "check": "access",
        "result": "warning",
        "says": "authorization disabled: any caller may query any service",
        "hint": "restrict that with --allow",
    }


def test_settings_are_those_of_serve_from_flags_variables_and_file(
    file: Path, tmp_path: Path
) -> None:
    config = tmp_path / "lookaside.yaml"
    config.write_text(f'source: "file:{file}"\nadmin: off\n')

    result = CliRunner().invoke(
        main, ["check", "--config", str(config)], env={"LOOKASIDE_LISTEN": "127.0.0.1:0"}
    )

    assert result.exit_code == 0
    assert "listen 127.0.0.1:0" in result.stdout
    assert "admin" not in result.stdout


def test_a_variable_that_sets_nothing_is_a_warning(check: Callable[..., Result]) -> None:
    environ = {
        "LOOKASIDE_LISTENN": ":1",
        "LOOKASIDE_COLOUR": "red",
        # What the kubelet sets of Services named lookaside and lookaside-b.
        "LOOKASIDE_SERVICE_HOST": "10.0.0.1",
        "LOOKASIDE_PORT_50052_TCP": "tcp://10.0.0.1:50052",
        "LOOKASIDE_B_SERVICE_PORT": "50052",
        "LOOKASIDE_B_PORT": "tcp://10.0.0.1:50052",
        **dict.fromkeys(OTHER_VARIABLES - {"LOOKASIDE_CONFIG"}, "x"),
    }
    result = CliRunner(env=environ).invoke(main, ["check", "--no-ports"])

    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row for row in rows if row[1] == "environment"] == [
        [
            "warning",
            "environment",
            "LOOKASIDE_COLOUR sets nothing",
            "serve --help has all settings",
        ],
        [
            "warning",
            "environment",
            "LOOKASIDE_LISTENN sets nothing",
            "did you mean LOOKASIDE_LISTEN?",
        ],
    ]


def test_wrong_settings_are_one_sentence_and_code_2(check: Callable[..., Result]) -> None:
    result = check("--tls-cert", "c")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: tls_cert is given without tls_key; TLS needs both\n"


@pytest.mark.parametrize("command", ["serve", "check"])
def test_pods_without_a_cluster_are_one_sentence_and_code_2(file: Path, command: str) -> None:
    result = CliRunner().invoke(main, [command, "--source", f"file:{file}", "--pods"])

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: pods has no effect without --source kubernetes; add that, or leave pods out\n"
    )


def test_no_source_is_a_failure() -> None:
    result = CliRunner().invoke(main, ["check", "--no-ports"])

    assert result.exit_code == 1
    assert row(result, "settings") == [
        "failed",
        "no source is given",
        "set --source",
    ]
    assert result.stderr == "1 of 2 checks failed\n"


def test_a_file_that_does_not_parse_is_named_with_its_line(
    check: Callable[..., Result], file: Path
) -> None:
    file.write_text("services:\n  greeter: {endpoints: [{address: nowhere}]}\n")

    result = check()

    assert result.exit_code == 1
    [status, says, hint] = row(result, f"file:{file}")
    assert status == "failed"
    assert says.startswith(f"{file}:2:")
    assert hint == "the service would not start"


def test_a_file_that_is_not_there_is_a_failure(check: Callable[..., Result], file: Path) -> None:
    file.unlink()

    assert row(check(), f"file:{file}")[1] == (
        f"{file}: can't read the endpoints file: No such file or directory"
    )


def test_a_name_that_resolves_is_ok(check: Callable[..., Result]) -> None:
    status, says, _ = row(check("--source", "dns:localhost:80"), "dns:localhost:80")

    assert status == "ok"
    assert says.startswith("addresses 127.0.0.1")


def test_a_name_that_does_not_resolve_is_a_failure(
    check: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    result = check("--source", "dns:nowhere.invalid:80", "--no-ports")

    assert result.exit_code == 1
    assert row(result, "dns:nowhere.invalid:80") == [
        "failed",
        "nowhere.invalid: no such name",
        "the service waits until it resolves",
    ]


def test_a_port_that_is_taken_is_a_failure_unless_it_is_not_looked_at(
    check: Callable[..., Result],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = check("--listen", listen)
        spared = check("--listen", listen, "--no-ports")

    assert (result.exit_code, spared.exit_code) == (1, 0)
    assert row(result, f"listen {listen}") == [
        "failed",
        os.strerror(errno.EADDRINUSE).lower(),
        "another process listens there; use --no-ports if it is the service itself",
    ]
    assert "listen" not in spared.stdout


def test_every_address_is_tried_where_no_host_is_given(check: Callable[..., Result]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = check("--admin", f":{port}")

    assert row(result, f"admin :{port}")[0] == "failed"
    assert row(check("--listen", ":0"), "listen :0")[0] == "ok"


def test_an_address_of_another_machine_is_a_failure(check: Callable[..., Result]) -> None:
    assert row(check("--listen", "192.0.2.1:1"), "listen 192.0.2.1:1") == [
        "failed",
        os.strerror(errno.EADDRNOTAVAIL).lower(),
        "this machine has no such address; :PORT listens on all of its addresses",
    ]


def test_a_name_of_which_this_machine_has_one_address_is_ok(
    check: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(_host: str, port: int, **_more: object) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port))
            for address in ("192.0.2.1", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    assert row(check("--listen", "both.example:0"), "listen both.example:0")[0] == "ok"


@pytest.fixture
def pems(tmp_path: Path) -> Path:
    authority = trustme.CA()
    issued, other = authority.issue_cert("lookaside.lb.svc"), authority.issue_cert("b")
    (tmp_path / "cert").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(tmp_path / "key")
    other.private_key_pem.write_to_path(tmp_path / "other-key")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    return tmp_path


def test_a_good_certificate_is_told_with_its_names_and_its_end(
    check: Callable[..., Result], pems: Path
) -> None:
    flags = ["--tls-cert", f"{pems}/cert", "--tls-key", f"{pems}/key", "--tls-client-ca"]
    status, says, _ = row(check(*flags, f"{pems}/ca"), "TLS")

    assert status == "ok"
    assert says.startswith("for lookaside.lb.svc, until ")


@pytest.mark.parametrize(
    ("cert", "key", "ca", "sentence"),
    [
        ("cert", "other-key", "ca", "other-key is not the key of the certificate in .*/cert"),
        ("ca", "key", "ca", "/key is not the key of the certificate in .*/ca"),
        ("none", "key", "ca", "cannot read .*none: No such file or directory"),
        ("cert", "key", "key", "key holds no certificate in PEM form"),
    ],
)
def test_tls_files_that_do_not_fit_are_a_failure(
    check: Callable[..., Result], pems: Path, cert: str, key: str, ca: str, sentence: str
) -> None:
    flags = ["--tls-cert", f"{pems}/{cert}", "--tls-key", f"{pems}/{key}"]
    result = check(*flags, "--tls-client-ca", f"{pems}/{ca}")

    assert result.exit_code == 1
    status, says, hint = row(result, "TLS")
    assert (status, hint) == ("failed", "the service would not start")
    assert re.search(sentence, says)


class ApiServer:
    """Reviews access by a set of rights, as (verb, resource, namespace)."""

    def __init__(self, directory: Path) -> None:
        self.rights: set[tuple[str, str, str]] = set()
        self.asked: list[tuple[str, str, str, str]] = []
        self.version = web.json_response({"gitVersion": "v1.35.2"})
        self.status = 201
        self.kubeconfig = directory / "kubeconfig"
        self.url = ""
        app = web.Application()
        app.router.add_get("/version", self._version)
        app.router.add_post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", self._review)
        self.runner = web.AppRunner(app, shutdown_timeout=0.01)

    async def start(self) -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.point_at(f"http://127.0.0.1:{self.runner.addresses[0][1]}")

    def point_at(self, url: str) -> None:
        self.url = url
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "own"}}],
        }
        self.kubeconfig.write_text(json.dumps(content))

    def allow(self, *resources: str, namespace: str = "") -> None:
        self.rights |= {(verb, each, namespace) for each in resources for verb in ("list", "watch")}

    async def _version(self, request: web.Request) -> web.StreamResponse:
        return self.version

    async def _review(self, request: web.Request) -> web.Response:
        asked = (await request.json())["spec"]["resourceAttributes"]
        key = (asked["verb"], asked["resource"], asked["namespace"])
        self.asked.append((asked["group"], *key))
        if self.status != 201:
            return web.json_response({"kind": "Status", "message": "no"}, status=self.status)
        return web.json_response({"status": {"allowed": key in self.rights}}, status=201)

    async def check(self, **more: Any) -> dict[str, Outcome]:
        settings = Settings(
            sources=(SourceSetting("kubernetes"),), kubeconfig=self.kubeconfig, **more
        )
        return {each.check: each async for each in preflight.run(settings, 5.0, ports=False)}


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ApiServer(tmp_path)
    await server.start()
    yield server
    await server.runner.cleanup()


async def test_no_more_is_asked_for_than_the_settings_need(cluster: ApiServer) -> None:
    cluster.allow("endpointslices", "services")

    found = await cluster.check()

    assert found["API server"].says == f"Kubernetes v1.35.2 at {cluster.url}"
    assert {each.result for each in found.values()} == {"ok", "warning"}
    assert cluster.asked == [
        ("discovery.k8s.io", "list", "endpointslices", ""),
        ("discovery.k8s.io", "watch", "endpointslices", ""),
        ("", "list", "services", ""),
        ("", "watch", "services", ""),
    ]


async def test_pods_and_tokens_are_asked_for_where_they_are_needed(cluster: ApiServer) -> None:
    cluster.allow("endpointslices", "services", "pods")
    settings = {"allow": (EVERYONE,), "token_audience": "lookaside"}

    found = await cluster.check(pods=True, **settings)

    assert found["list and watch pods in all namespaces"].result == "ok"
    missing = found["create tokenreviews"]
    assert (missing.result, missing.says) == ("failed", "may not create")
    assert missing.hint == "a ClusterRoleBinding to the ClusterRole system:auth-delegator gives it"
    assert cluster.asked[-1] == ("authentication.k8s.io", "create", "tokenreviews", "")


async def test_a_right_that_is_missing_is_named_with_the_rule_that_gives_it(
    cluster: ApiServer,
) -> None:
    cluster.allow("endpointslices", "services", namespace="shop")
    cluster.allow("services", namespace="other")
    cluster.rights.add(("list", "endpointslices", "other"))

    found = await cluster.check(namespaces=("shop", "other"))

    failed = [each for each in found.values() if each.result == "failed"]
    assert failed == [
        Outcome(
            "list and watch endpointslices in the namespace other",
            "failed",
            "may not watch",
            "a Role in namespace 'other' needs the rule apiGroups: [\"discovery.k8s.io\"], "
            'resources: ["endpointslices"], verbs: ["list", "watch"]',
        )
    ]


async def test_a_version_that_is_not_told_is_no_failure(cluster: ApiServer) -> None:
    cluster.allow("endpointslices", "services")
    cluster.version = web.json_response({"message": "no"}, status=403)

    found = await cluster.check()

    assert found["API server"].result == "ok"
    assert "of a version that it does not tell" in found["API server"].says


async def test_what_has_no_version_is_no_api_server(cluster: ApiServer) -> None:
    cluster.version = web.Response(text="404: Not Found", status=404)

    outcome = (await cluster.check())["API server"]

    assert (outcome.result, cluster.asked) == ("failed", [])
    assert (
        outcome.hint
        == f"what is asked is {cluster.url}; set --kubeconfig or --context for another one"
    )


async def test_a_token_that_is_not_taken_is_a_failure(cluster: ApiServer) -> None:
    cluster.version = web.json_response({"message": "Unauthorized"}, status=401)

    outcome = (await cluster.check())["API server"]

    assert outcome.result == "failed"
    assert "401" in outcome.says
    assert outcome.hint == "the server rejects the token, or the user of the kubeconfig file"
    assert cluster.asked == []


async def test_reviews_that_are_refused_are_a_failure(cluster: ApiServer) -> None:
    cluster.status = 500

    found = await cluster.check()

    assert [each.result for each in found.values()] == ["ok", "ok", "failed", "warning"]
    assert found["rights"].hint == "see the API server's log"


async def test_what_is_no_api_server_is_a_failure(cluster: ApiServer) -> None:
    cluster.version = web.Response(text="<html>")

    assert "what answers is no API server" in (await cluster.check())["API server"].says


async def test_an_api_server_that_is_not_there_is_a_failure(cluster: ApiServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cluster.point_at(f"http://127.0.0.1:{taken.getsockname()[1]}")

    outcome = (await cluster.check())["API server"]

    assert outcome.result == "failed"
    assert outcome.says.startswith("the API server can't be reached: ")
    assert (
        outcome.hint
        == f"what is asked is {cluster.url}; set --kubeconfig or --context for another one"
    )


async def test_no_kubeconfig_is_a_failure(cluster: ApiServer) -> None:
    cluster.kubeconfig.unlink()

    outcome = (await cluster.check())["API server"]

    assert outcome == Outcome(
        "API server",
        "failed",
        f"kubeconfig {cluster.kubeconfig}: no such file",
        "the service would not start",
    )


async def test_tokens_without_tls_are_a_warning(cluster: ApiServer) -> None:
    settings = Settings(
        sources=(), kubeconfig=cluster.kubeconfig, allow=(EVERYONE,), token_audience="a"
    )
    outcomes = [each async for each in preflight.run(settings, 5.0, ports=False)]

    assert [each.says for each in outcomes if each.result == "warning"] == [
        "tokens are sent in plain text: anyone who sees one can use it"
    ]
