"""The client of stock grpcio, with the bootstrap file that the command line prints."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.examples.documents import EXAMPLES, envoy_configs
from tests.examples.running import ROOT, Balancer, table


def test_a_stock_client_reaches_every_backend(greeters: list[str], tmp_path: Path) -> None:
    lines = "".join(f"      - {{address: '{one}'}}\n" for one in greeters)
    balancer = Balancer(tmp_path)
    try:
        address = balancer.serve(f"services:\n  greeter.grpc-services:\n    endpoints:\n{lines}")
        command = [sys.executable, "-m", "lookaside", "xds-bootstrap", "--address", address]
        file = tmp_path / "bootstrap.json"
        file.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
        done = subprocess.run(
            [sys.executable, "-m", "examples.xds.client"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "GRPC_XDS_BOOTSTRAP": str(file)},
            timeout=120,
        )
    finally:
        balancer.stop()
    assert done.returncode == 0, done.stderr
    answered = table(done.stdout)
    assert answered.keys() == set(greeters)
    assert sum(answered.values()) == 100


def test_the_sidecar_s_bootstrap_file_is_what_its_manifest_says_that_the_command_prints() -> None:
    text = (EXAMPLES / "strategy_2_envoy_sidecar" / "xds.yaml").read_text()
    comment = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    words = " ".join(comment).split()
    assert words[:2] == ["lookaside", "xds-bootstrap"]
    command = [sys.executable, "-m", *words]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert yaml.safe_load(envoy_configs()["envoy-bootstrap"]) == yaml.safe_load(printed)
