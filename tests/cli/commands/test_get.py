"""`lookaside get` and `lookaside list` against a balancer."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
import trustme
import yaml
from click.testing import CliRunner, Result

from lookaside._pb import lookaside_pb2 as pb
from lookaside.cli import main
from lookaside.cli.errors import until_terminated
from lookaside.cli.render import output
from tests.cli.conftest import BOUND, COMMAND, Balancer, Process, server

Run = Callable[..., Result]

GREETER = pb.GetServersResponse(
    servers=[
        server("10.0.0.1:80", 50, "eu-1a", version="v2", app="greeter"),
        server("[fd00::1]:80"),
    ],
    revision=pb.Revision(digest="ab12", version=7, epoch="e"),
    state=pb.STATE_PRESENT,
    service="greeter.shop",
)


@pytest.fixture(autouse=True)
def _known(balancer: Balancer) -> None:
    balancer.lists["greeter"] = GREETER
    balancer.summaries = [
        pb.ServiceSummary(
            service="greeter.shop",
            source="kubernetes",
            state=pb.STATE_PRESENT,
            servers=2,
            revision=pb.Revision(digest="ab12", version=7),
        ),
        pb.ServiceSummary(service="idle.x", source="file:a", state=pb.STATE_EMPTY),
    ]


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)


@pytest.mark.usefixtures("_terminal")
def test_a_terminal_gets_columns(run: Run) -> None:
    result = run("get", "greeter")

    assert result.exit_code == 0
    assert result.stdout == (
        "ADDRESS       WEIGHT  HEALTH  ZONE\n"
        "10.0.0.1:80   50      ready   eu-1a\n"
        "[fd00::1]:80  100     ready   -\n"
    )
    assert result.stderr == ""


@pytest.mark.usefixtures("_terminal")
def test_wide_shows_node_and_metadata(run: Run) -> None:
    assert run("get", "greeter", "-o", "wide").stdout == (
        "ADDRESS       WEIGHT  HEALTH  ZONE   NODE  METADATA\n"
        "10.0.0.1:80   50      ready   eu-1a  n1    app=greeter,version=v2\n"
        "[fd00::1]:80  100     ready   -      -     -\n"
    )


def test_a_health_that_no_source_tells_is_left_out(balancer: Balancer, run: Run) -> None:
    backend = pb.Server(address="10.0.0.1:80", weight=100)
    balancer.lists["told"] = pb.GetServersResponse(servers=[backend], service="told.shop")

    assert run("get", "told").stdout.splitlines()[1] == "10.0.0.1:80\t100\t-\t-"


def test_a_pipe_gets_tabs(run: Run) -> None:
    assert run("get", "greeter").stdout.splitlines()[1] == "10.0.0.1:80\t50\tready\teu-1a"


def test_json_is_that_of_the_message(run: Run) -> None:
    document = json.loads(run("get", "greeter", "-o", "json").stdout)

    assert document["service"] == "greeter.shop"
    assert document["state"] == "STATE_PRESENT"
    assert document["revision"] == {"digest": "ab12", "version": "7", "epoch": "e"}
    assert document["servers"][0] == {
        "address": "10.0.0.1:80",
        "weight": 50,
        "metadata": {"version": "v2", "app": "greeter"},
        "locality": {"zone": "eu-1a", "node": "n1"},
        "health": "HEALTH_READY",
    }


def test_yaml_says_what_json_does(run: Run) -> None:
    assert yaml.safe_load(run("get", "greeter", "-o", "yaml").stdout) == json.loads(
        run("get", "greeter", "-o", "json").stdout
    )


@pytest.mark.parametrize(
    ("state", "servers", "note"),
    [
        (
            pb.STATE_EMPTY,
            [],
            "idle.x exists and has no endpoints; lookaside explain idle.x says why\n",
        ),
        (
            pb.STATE_STALE,
            [server("10.0.0.1:80")],
            "idle.x is stale: the balancer lost its source, and this is the last list it knew\n",
        ),
        (
            pb.STATE_UNSPECIFIED,
            [],
            "idle.x exists and has no endpoints; lookaside explain idle.x says why\n",
        ),
        (pb.STATE_UNSPECIFIED, [server("10.0.0.1:80")], ""),
    ],
)
def test_what_a_list_means_is_said_beside_it(
    balancer: Balancer, run: Run, state: pb.State, servers: list[pb.Server], note: str
) -> None:
    balancer.lists["idle"] = pb.GetServersResponse(servers=servers, state=state, service="idle.x")

    result = run("get", "idle")

    assert (result.exit_code, result.stderr) == (0, note)
    assert bool(result.stdout) is bool(servers)


def test_why_a_list_is_empty_is_said_where_the_balancer_tells(balancer: Balancer, run: Run) -> None:
    balancer.lists["idle"] = pb.GetServersResponse(state=pb.STATE_EMPTY, service="idle.x")
    balancer.explanations["idle"] = pb.ExplainResponse(
        service="idle.x",
        state=pb.STATE_EMPTY,
        notes=["no Pod is ready."],
        endpoints=[
            pb.EndpointExplanation(address=f"10.0.0.{each}:1", reason="not ready")
            for each in range(3)
        ],
    )

    result = run("get", "idle", "--zone", "eu-1a")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "idle.x exists and has no endpoints: 3 not ready; no Pod is ready\n"
    assert balancer.requests[-1] == pb.ExplainRequest(
        service_name="idle", client=pb.Client(zone="eu-1a")
    )


@pytest.mark.parametrize("command", ["get", "explain"])
def test_a_service_that_is_misspelt_is_met_with_what_may_have_been_meant(
    run: Run, command: str
) -> None:
    result = run(command, "greter.shop")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "Error: service greter.shop is not known; did you mean greeter.shop?\n"
    )


def test_an_empty_list_is_there_in_json(balancer: Balancer, run: Run) -> None:
    balancer.lists["idle"] = pb.GetServersResponse(state=pb.STATE_EMPTY, service="idle.x")

    assert json.loads(run("get", "idle", "-o", "json").stdout)["servers"] == []


def test_an_unknown_service_is_one_sentence_and_code_3(run: Run) -> None:
    result = run("get", "nothing")

    assert (result.exit_code, result.stdout) == (3, "")
    assert (
        result.stderr
        == "Error: service nothing is not known; lookaside list shows those that are\n"
    )


@pytest.mark.parametrize(
    ("code", "details", "exit_code", "sentence"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "service name 'A': no", 2, "service name 'A': no"),
        (
            grpc.StatusCode.UNAVAILABLE,
            "source kubernetes: no list yet",
            4,
            "the balancer at ADDRESS says unavailable: source kubernetes: no list yet",
        ),
        (
            grpc.StatusCode.FAILED_PRECONDITION,
            "a.b is an alias of c.example",
            1,
            "a.b is an alias of c.example",
        ),
        (
            grpc.StatusCode.PERMISSION_DENIED,
            "",
            1,
            (
                "the balancer at ADDRESS says permission denied: no reason given; --allow of the "
                "balancer says who may ask for what"
            ),
        ),
        (
            grpc.StatusCode.PERMISSION_DENIED,
            "dns:a may not ask for the namespace b",
            1,
            (
                "the balancer at ADDRESS says permission denied: dns:a may not ask for the "
                "namespace b; --allow of the balancer says who may ask for what"
            ),
        ),
        (
            grpc.StatusCode.UNAUTHENTICATED,
            "show who asks",
            1,
            (
                "the balancer at ADDRESS says unauthenticated: show who asks; --token-file, or "
                "--cert and --key, say who asks"
            ),
        ),
        (
            grpc.StatusCode.UNIMPLEMENTED,
            "",
            1,
            "what answers at ADDRESS is not a Lookaside balancer, or an older version",
        ),
    ],
)
def test_a_refusal_is_one_sentence_and_a_code(
    balancer: Balancer,
    run: Run,
    code: grpc.StatusCode,
    details: str,
    exit_code: int,
    sentence: str,
) -> None:
    balancer.refusal = (code, details)

    result = run("get", "greeter")

    assert result.exit_code == exit_code
    assert result.stderr == f"Error: {sentence.replace('ADDRESS', balancer.address)}\n"


@pytest.mark.parametrize("command", [("get", "greeter"), ("list",)])
def test_a_balancer_that_is_not_there_is_one_sentence_and_code_4(command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

    result = CliRunner().invoke(main, [*command, "--address", address])

    assert result.exit_code == 4
    assert result.stderr == (
        f"Error: can't reach the balancer at {address}: connection refused; --address or "
        "LOOKASIDE_ADDRESS says where it is\n"
    )


def test_a_balancer_that_says_nothing_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        result = CliRunner().invoke(
            main, ["get", "greeter", "--address", address, "--timeout", "200ms"]
        )

    assert result.exit_code == 4
    assert result.stderr == (
        f"Error: the balancer at {address} did not answer in time; raise --timeout\n"
    )


def test_a_name_that_does_not_resolve_is_one_sentence_and_code_4() -> None:
    # No name server, which may be away, is asked for one of more than 255 octets (RFC 1035, 2.3.4).
    name = f"{'a.' * 130}invalid"
    result = CliRunner().invoke(main, ["list", "--address", f"{name}:50052"])

    assert (result.exit_code, result.stderr) == (
        4,
        (
            f"Error: can't reach the balancer at {name}:50052: the name does not resolve; "
            "--address or LOOKASIDE_ADDRESS says where it is\n"
        ),
    )


class Admin(BaseHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_the_admin_port_in_the_place_of_that_of_grpc_is_told() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Admin) as admin:
        thread = threading.Thread(target=admin.serve_forever)
        thread.start()
        address = f"127.0.0.1:{admin.server_port}"
        result = CliRunner().invoke(main, ["list", "--address", address])
        admin.shutdown()
        thread.join()

    assert (result.exit_code, result.stderr) == (
        4,
        (
            f"Error: can't reach the balancer at {address}: the server there does not speak "
            "gRPC; is that the admin port? gRPC is on 50052 unless --listen sets another port\n"
        ),
    )


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        ("list", signal.SIGINT, 130),
        ("list", signal.SIGTERM, 143),
        ("get greeter", signal.SIGTERM, 143),
        ("explain greeter", signal.SIGINT, 130),
        ("explain greeter", signal.SIGTERM, 143),
    ],
)
def test_a_signal_ends_a_command_that_waits_with_its_code_and_no_word(
    command: str, number: signal.Signals, code: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        process = Process(*command.split(), "--address", address, "--timeout", "600s")
        try:
            silent.settimeout(BOUND)
            connection, _ = silent.accept()
            with connection:
                ended = process.end(number)
        finally:
            process.close()

    assert ended == code
    assert process.rest("out") == []
    assert [line for line in process.rest("err") if line] == []


async def test_while_a_command_works_every_signal_wakes_its_loop() -> None:
    async def wakeup() -> int:
        descriptor = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(descriptor)
        return descriptor

    try:
        assert await until_terminated(wakeup()) >= 0
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


def test_a_reader_that_has_gone_away_ends_it_without_a_word(balancer: Balancer) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, "list", "--address", balancer.address],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=BOUND,
            check=False,
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    "arguments", [("list",), ("watch", "greeter"), ("get", "--help")], ids=lambda each: each[0]
)
def test_output_that_finds_no_room_is_one_sentence_and_code_1(
    balancer: Balancer, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    balancer.send(server("10.0.0.1:80"))
    # As in a shell: with it, nothing is left that the interpreter would write at its end.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments, "--address", balancer.address],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=BOUND,
            check=False,
        )

    assert (done.returncode, done.stderr) == (1, b"Error: No space left on device\n")


def test_output_that_is_closed_is_no_traceback(balancer: Balancer) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "list", "--address", balancer.address],
        stderr=subprocess.PIPE,
        timeout=BOUND,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--address", "a"], "--address 'a': expected one HOST:PORT, such as localhost:50052"),
        (["--address", "::1:5"], "--address '::1:5': expected one HOST:PORT, such as localhost:"),
        (["--address", "a:1,b:1"], "--address 'a:1,b:1': expected one HOST:PORT, such as local"),
        (["--address", "http://a:5"], "--address 'http://a:5': expected one HOST:PORT"),
        (["--address", "lookaside://a:5/b"], "--address 'lookaside://a:5/b': expected one HOST"),
        (["--timeout", "soon"], "Invalid value for '--timeout': 'soon': expected seconds"),
        (["--timeout", "0"], "Invalid value for '--timeout': '0': expected a length of time"),
        (["--cert", __file__], "--cert and --key go together"),
        (
            ["-plaintext", "-cacert", __file__],
            "--plaintext doesn't go with --tls, --insecure, --cacert, --cert, --key or",
        ),
        (
            ["--insecure", "--cacert", __file__],
            "--insecure doesn't go with --cacert or --servername: it trusts any certificate",
        ),
        (
            ["--authority", "a.example", "--servername", "b.example"],
            "--authority and --servername differ; expected one name",
        ),
        (
            ["--insecure", "--address", "unix:/tmp/none"],
            "--insecure needs an --address of the form HOST:PORT",
        ),
        (["--cacert", __file__], f"Error: {__file__} holds no certificate in PEM form"),
        (
            ["--cert", __file__, "--key", __file__],
            f"Error: {__file__} holds no certificate in PEM form",
        ),
        (["--subset-size", "3"], "--subset-size needs --client-id: a subset is a client's own"),
        (["--subset-size", "-1"], "Invalid value for '--subset-size': -1 is not in the range"),
        (["--token-file", "/none"], "File '/none' does not exist"),
        (["--token-file", "/dev/null", "--insecure-token"], "Error: /dev/null holds no token"),
        (["-o", "xml"], "'xml' is not one of 'table', 'wide', 'json', 'yaml'"),
    ],
)
def test_wrong_usage_is_code_2(run: Run, arguments: list[str], sentence: str) -> None:
    result = run("get", "greeter", *arguments)

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_port_alone_is_on_this_machine(balancer: Balancer, run: Run) -> None:
    assert run("get", "greeter", "--address", f":{balancer.port}").exit_code == 0


def test_a_target_of_grpc_is_taken_as_it_is(balancer: Balancer, run: Run) -> None:
    for target in (f"ipv4:{balancer.address}", f"dns:///{balancer.address}"):
        assert run("get", "greeter", "--address", target).exit_code == 0


def test_a_socket_that_is_not_there_is_one_sentence_and_code_4(run: Run) -> None:
    result = run("list", "--address", "unix:/none.sock")

    assert (result.exit_code, result.stderr) == (
        4,
        (
            "Error: can't reach the balancer at unix:/none.sock: there is no such socket; "
            "--address or LOOKASIDE_ADDRESS says where it is\n"
        ),
    )


@pytest.mark.usefixtures("_terminal")
def test_list_shows_every_service(run: Run) -> None:
    assert run("list").stdout == (
        "SERVICE       STATE    SERVERS  SOURCE\n"
        "greeter.shop  present  2        kubernetes\n"
        "idle.x        empty    0        file:a\n"
    )


@pytest.mark.usefixtures("_terminal")
def test_list_shows_what_an_alias_stands_for(balancer: Balancer, run: Run) -> None:
    balancer.summaries = [
        pb.ServiceSummary(
            service="db.shop", source="k", state=pb.STATE_EMPTY, external_name="db.example"
        )
    ]
    assert run("list").stdout == (
        "SERVICE  STATE                SERVERS  SOURCE\ndb.shop  alias of db.example  0        k\n"
    )
    document = json.loads(run("list", "-o", "json").stdout)
    assert document["services"][0]["externalName"] == "db.example"


@pytest.mark.usefixtures("_terminal")
def test_list_shows_revisions_where_there_is_room(run: Run) -> None:
    assert run("list", "-o", "wide").stdout == (
        "SERVICE       STATE    SERVERS  SOURCE      DIGEST  VERSION\n"
        "greeter.shop  present  2        kubernetes  ab12    7\n"
        "idle.x        empty    0        file:a      -       -\n"
    )


def test_list_of_a_namespace(run: Run) -> None:
    assert run("list", "-n", "x").stdout.splitlines()[1:] == ["idle.x\tempty\t0\tfile:a"]


def test_list_of_what_can_be_no_namespace_is_wrong_usage(run: Run) -> None:
    result = run("list", "-n", "A!")

    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: Invalid value for '-n' / '--namespace': 'A!': expected a namespace: small letters, "
        "digits and -, at most 63 characters\n"
    )


def test_list_as_json(run: Run) -> None:
    document = json.loads(run("list", "-o", "json").stdout)

    assert [each["service"] for each in document["services"]] == ["greeter.shop", "idle.x"]


def test_a_list_without_services_says_so(run: Run) -> None:
    result = run("list", "--namespace", "none")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "the balancer knows no services in the namespace none\n"


def test_control_characters_are_not_passed_on(balancer: Balancer, run: Run) -> None:
    balancer.lists["greeter"] = pb.GetServersResponse(
        servers=[server("10.0.0.1:80", zone="\x1b[31m\t")], state=pb.STATE_PRESENT
    )

    assert "?[31m?" in run("get", "greeter").stdout


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Balancer]:
    """A balancer that wants a certificate of its clients."""
    issued = authority.issue_cert("balancer.example")
    stub = Balancer(
        lists={"greeter": GREETER},
        credentials=grpc.ssl_server_credentials(
            [(issued.private_key_pem.bytes(), b"".join(p.bytes() for p in issued.cert_chain_pems))],
            authority.cert_pem.bytes(),
            require_client_auth=True,
        ),
    )
    stub.start()
    yield stub
    stub.stop()


def test_tls_with_a_client_certificate(
    secure: Balancer, authority: trustme.CA, tmp_path: Path
) -> None:
    mine = authority.issue_cert("client.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    common = ["get", "greeter", "--address", secure.address, "--cacert", f"{tmp_path}/ca.pem"]
    client = ["--cert", f"{tmp_path}/cert.pem", "--key", f"{tmp_path}/key.pem"]

    good = CliRunner().invoke(main, [*common, *client, "--authority", "balancer.example"])
    other_name = CliRunner().invoke(main, [*common, *client])
    plain = CliRunner().invoke(main, ["get", "greeter", "--address", secure.address])

    assert good.exit_code == 0, good.stderr
    assert "10.0.0.1:80" in good.stdout
    assert other_name.exit_code == plain.exit_code == 4
    assert "can't reach the balancer" in other_name.stderr


ASKER = ["--zone", "eu-1a", "--node", "n1", "--client-id", "me", "--subset-size", "3"]


def test_a_list_is_asked_for_as_a_client_gets_it(balancer: Balancer, run: Run) -> None:
    run("get", "greeter")
    run("get", "greeter", *ASKER)

    assert balancer.requests == [
        pb.GetServersRequest(service_name="greeter", client=pb.Client()),
        pb.GetServersRequest(
            service_name="greeter",
            client=pb.Client(id="me", zone="eu-1a", node="n1"),
            subset_size=3,
        ),
    ]


@pytest.mark.parametrize("command", [("get", "greeter"), ("list",), ("explain", "greeter")])
def test_a_token_is_shown_as_the_file_has_it(
    balancer: Balancer, run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    balancer.explanations["greeter"] = pb.ExplainResponse()
    file = tmp_path / "token"
    file.write_text("a.b.c\n")

    run(*command)
    assert run(*command, "--token-file", str(file), "--insecure-token").exit_code == 0

    assert balancer.tokens == ["", "Bearer a.b.c"]


def test_the_environment_names_the_token_file(
    balancer: Balancer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("a.b.c")
    monkeypatch.setenv("LOOKASIDE_TOKEN_FILE", str(tmp_path / "token"))

    run("get", "greeter", "--insecure-token")

    assert balancer.tokens == ["Bearer a.b.c"]


@pytest.mark.parametrize("command", [("get", "a"), ("watch", "a"), ("list",), ("explain", "a")])
@pytest.mark.parametrize("plaintext", [(), ("--plaintext",)], ids=["", "plaintext"])
def test_a_token_is_not_sent_in_plain_text_unless_that_is_asked_for(
    balancer: Balancer,
    run: Run,
    tmp_path: Path,
    command: tuple[str, ...],
    plaintext: tuple[str, ...],
) -> None:
    file = tmp_path / "token"
    file.write_text("a.b.c")

    result = run(*command, *plaintext, "--token-file", str(file))

    assert result.exit_code == 2
    assert "--token-file would be sent in plain text: use TLS" in result.stderr
    assert balancer.requests == []


@pytest.mark.parametrize("text", ["", "\n", "two\nlines", "caf\u00e9"])
def test_what_is_no_token_is_not_sent(
    balancer: Balancer, run: Run, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "token"
    file.write_text(text)

    result = run("get", "greeter", "--insecure-token", "--token-file", str(file))

    assert (result.exit_code, result.stderr) == (2, f"Error: {file} holds no token\n")
    assert balancer.requests == []
