"""The flags about TLS, against balancers that have certificates."""

import datetime as dt
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from click.testing import CliRunner, Result

from lookaside._pb import lookaside_pb2 as pb
from lookaside.cli import main
from lookaside.cli.balancer.tls import served, trusting
from lookaside.cli.errors import Failure
from tests.cli.conftest import Balancer, server

NAME = "balancer.example"
GREETER = pb.GetServersResponse(servers=[server("10.0.0.1:80")], state=pb.STATE_PRESENT)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(authority: trustme.CA, tmp_path: Path) -> Path:
    """PEM files: the authority, another one, and a client's certificate and key."""
    mine = authority.issue_cert("client.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return tmp_path


@contextmanager
def balancing(authority: trustme.CA, *names: str, mutual: bool = False) -> Iterator[Balancer]:
    issued = authority.issue_cert(*names)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    stub = Balancer(
        lists={"greeter": GREETER},
        credentials=grpc.ssl_server_credentials(
            [(issued.private_key_pem.bytes(), chain)],
            authority.cert_pem.bytes() if mutual else None,
            require_client_auth=mutual,
        ),
    )
    stub.start()
    yield stub
    stub.stop()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Balancer]:
    with balancing(authority, NAME) as stub:
        yield stub


@pytest.fixture
def get(secure: Balancer, folder: Path) -> Callable[..., Result]:
    """Run `get` against it; a flag's @FILE is in the folder."""

    def run(*flags: str, address: str = secure.address) -> Result:
        flags = tuple(each.replace("@", f"{folder}/") for each in flags)
        return CliRunner().invoke(main, ["get", "greeter", "--address", address, *flags])

    return run


@pytest.mark.parametrize(
    "flags",
    [
        ["--cacert", "@ca.pem", "--authority", NAME],
        ["-cacert", "@ca.pem", "-authority", NAME],
        ["-cacert=@ca.pem", f"-authority={NAME}"],
        ["--cacert", "@ca.pem", "--servername", NAME],
        ["-cacert", "@ca.pem", "-servername", NAME, "-authority", NAME],
        ["--tls", "--cacert", "@ca.pem", "--authority", NAME],
        ["--insecure"],
        ["-insecure"],
        ["-insecure", "-authority", "anything.example"],
    ],
)
def test_a_balancer_that_is_trusted_is_asked(get: Callable[..., Result], flags: list[str]) -> None:
    result = get(*flags)

    assert (result.exit_code, result.stderr) == (0, "")
    assert "10.0.0.1:80" in result.stdout


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--cacert", "@ca.pem"],
            "another name; set the expected name with --authority",
        ),
        (
            ["--cacert", "@other.pem", "--authority", NAME],
            "is signed by an unknown authority;",
        ),
        (["--tls"], "signed by an unknown authority; set it with --cacert"),
        ([], "the connection was closed at once; if it uses TLS, set --tls or --cacert"),
        (["-plaintext"], "the connection was closed at once; if it uses TLS"),
    ],
)
def test_a_balancer_that_is_not_trusted_is_one_sentence_and_code_4(
    get: Callable[..., Result], flags: list[str], sentence: str
) -> None:
    result = get(*flags)

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("Error: can't reach the balancer at 127.0.0.1:")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("names", [["127.0.0.1"], ["*.example"], ["a.example", "b.example"]])
def test_insecure_trusts_a_certificate_whatever_its_name(
    authority: trustme.CA, get: Callable[..., Result], names: list[str]
) -> None:
    with balancing(authority, *names) as other:
        assert get("--insecure", address=other.address).exit_code == 0


def test_insecure_may_show_a_client_certificate(
    authority: trustme.CA, get: Callable[..., Result]
) -> None:
    with balancing(authority, NAME, mutual=True) as other:
        shown = get("-insecure", "-cert", "@cert.pem", "-key", "@key.pem", address=other.address)
        kept = get("-insecure", address=other.address)

    assert shown.exit_code == 0, shown.stderr
    assert kept.exit_code == 4
    assert "if it requires a client certificate, set --cert and --key" in kept.stderr


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        (
            "--tls",
            "can't reach the balancer at ADDRESS: the server there does not use TLS; use",
        ),
        (
            "--insecure",
            "can't trust the balancer at ADDRESS: the server there does not use TLS; use",
        ),
    ],
)
def test_a_balancer_without_tls_is_told(
    get: Callable[..., Result], balancer: Balancer, flag: str, sentence: str
) -> None:
    result = get(flag, address=balancer.address)

    assert result.exit_code == 4
    assert result.stderr.startswith(f"Error: {sentence.replace('ADDRESS', balancer.address)}")


def test_insecure_where_nobody_listens_is_one_sentence(get: Callable[..., Result]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

    result = get("--insecure", address=address)

    assert (result.exit_code, result.stderr) == (
        4,
        (
            f"Error: can't reach the balancer at {address}: connection refused; --address or "
            "LOOKASIDE_ADDRESS says where it is\n"
        ),
    )


def test_insecure_where_nobody_answers_is_given_up_at_the_timeout(
    get: Callable[..., Result],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        result = get("--insecure", "--timeout", "0.2s", address=address)

    assert 0.2 <= time.monotonic() - begun < 20
    assert (result.exit_code, result.stderr) == (
        4,
        (
            f"Error: can't reach the balancer at {address}: no answer in time; --address or "
            "LOOKASIDE_ADDRESS says where it is\n"
        ),
    )


def test_insecure_is_given_up_at_the_timeout_where_one_handshake_is_all_that_is_answered(
    authority: trustme.CA,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: context.wrap_socket(listener.accept()[0], server_side=True).close())
        begun = time.monotonic()
        with pytest.raises(Failure, match="no answer in time"):
            trusting(f"127.0.0.1:{listener.getsockname()[1]}", None, None, 0.5)

    assert time.monotonic() - begun < 20


def test_a_certificate_is_seen_as_clients_will(authority: trustme.CA, tmp_path: Path) -> None:
    issued = authority.issue_cert(NAME, "10.0.0.1")
    (tmp_path / "cert").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(tmp_path / "key")

    names, until = served(tmp_path / "cert", tmp_path / "key")

    assert names == [NAME, "10.0.0.1"]
    assert until.endswith("GMT")


def test_a_certificate_that_has_expired_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    past = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    issued = authority.issue_cert(NAME, not_before=past, not_after=past + dt.timedelta(days=1))
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    issued.private_key_pem.write_to_path(tmp_path / "key")

    with pytest.raises(Failure, match=r"clients will refuse .*cert: certificate has expired"):
        served(tmp_path / "cert", tmp_path / "key")
