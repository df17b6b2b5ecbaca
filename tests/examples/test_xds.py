"""The client of stock grpcio, with the bootstrap file that the command line prints."""

import os
import subprocess
import sys
from pathlib import Path

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
