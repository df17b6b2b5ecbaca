"""The bootstrap files that are printed; clients that run with them are in tests/api/xds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from click.testing import CliRunner, Result

from lookaside.cli import main

ENVOY = Path(sys.executable).with_name("envoy")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["xds-bootstrap", "--id=me", *arguments])


def printed(*arguments: str) -> dict[str, Any]:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = yaml.safe_load(result.stdout)
    return document


def test_a_grpc_client_is_told_where_the_balancer_is_and_who_it_is_itself() -> None:
    result = invoke("--address=lookaside.infra:50052", "--zone=eu-1a", "--node=n7")
    assert json.loads(result.stdout) == {
        "xds_servers": [
            {
                "server_uri": "lookaside.infra:50052",
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": {
            "id": "me",
            "cluster": "me",
            "locality": {"zone": "eu-1a"},
            "metadata": {"lookaside.dev/node": "n7"},
        },
    }


def test_tls_and_a_token_are_by_files() -> None:
    flags = ("--cacert=ca.pem", "--cert=c.pem", "--key=k.pem", "--token-file=/run/token")
    (server,) = printed(*flags)["xds_servers"]
    assert server["channel_creds"] == [
        {
            "type": "tls",
            "config": {
                "ca_certificate_file": "ca.pem",
                "certificate_file": "c.pem",
                "private_key_file": "k.pem",
            },
        }
    ]
    assert server["call_creds"] == [
        {"type": "jwt_token_file", "config": {"jwt_token_file": "/run/token"}}
    ]
    (server,) = printed("--tls")["xds_servers"]
    assert server["channel_creds"] == [{"type": "tls"}]


@pytest.mark.parametrize("address", ["lookaside.infra:50052", "10.0.0.1:50052", "[fd00::1]:50052"])
@pytest.mark.parametrize("secure", [False, True])
def test_envoy_takes_its_file(address: str, secure: bool, tmp_path: Path) -> None:
    flags = ["--kind=envoy", f"--address={address}", "--listen=15001=greeter.shop:50051"]
    if secure:
        authority = trustme.CA()
        pair = authority.issue_cert("me.shop")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        pair.cert_chain_pems[0].write_to_path(tmp_path / "c.pem")
        pair.private_key_pem.write_to_path(tmp_path / "k.pem")
        names = {"cacert": "ca", "cert": "c", "key": "k"}
        flags += [f"--{flag}={tmp_path / name}.pem" for flag, name in names.items()]
    file = tmp_path / "envoy.yaml"
    file.write_text(invoke(*flags).stdout)
    document = yaml.safe_load(file.read_text())
    metadata = document["node"]["metadata"]
    assert metadata == {"lookaside.dev/listeners": {"greeter.shop:50051": 15001}}
    command: list[str | Path] = [ENVOY, "--mode", "validate", "--config-path", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, f"configuration '{file}' OK")
    assert "eprecated" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--address=nowhere"], "expected HOST:PORT"),
        (["--address=:50052"], "expected HOST:PORT"),
        (["--cert=c.pem"], "--cert and --key go together"),
        (["--token-file=t"], "--token-file needs TLS"),
        (["--kind=envoy"], "--listen is what Envoy needs"),
        (["--listen=1=greeter"], "--listen is what Envoy needs"),
        (["--kind=envoy", "--listen=greeter"], "expected PORT=SERVICE"),
        (["--kind=envoy", "--listen=0=greeter"], "expected PORT=SERVICE"),
        (["--kind=envoy", "--listen=1=a", "--tls", "--token-file=t"], "--token-file is for gRPC"),
    ],
)
def test_what_does_not_go_together_is_refused(flags: list[str], said: str) -> None:
    result = invoke(*flags)
    assert result.exit_code == 2
    assert said in result.stderr
