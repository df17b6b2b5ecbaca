"""Envoy takes the configs of strategy 2, and spreads requests with them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from client_resolver.testing.server import reserve_port
from tests.examples.documents import EXAMPLES, envoy_configs, pod_specs
from tests.examples.running import Program, table

ENVOY = Path(sys.executable).with_name("envoy")
CONFIGS = envoy_configs()


@pytest.mark.parametrize("name", CONFIGS)
def test_envoy_takes_a_config_and_finds_nothing_deprecated(name: str, tmp_path: Path) -> None:
    config = tmp_path / "envoy.yaml"
    config.write_text(CONFIGS[name])
    command: list[str | Path] = [ENVOY, "--mode", "validate", "--config-path", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout.strip()) == (0, f"configuration '{config}' OK")
    assert "eprecated" not in done.stderr


def test_the_image_is_of_the_version_that_the_tests_run() -> None:
    said = subprocess.run([ENVOY, "--version"], capture_output=True, text=True, check=True)
    spec = pod_specs(EXAMPLES / "strategy_2_envoy_sidecar" / "kubernetes.yaml")["grpc-client"]
    (sidecar,) = spec["initContainers"]
    assert f"/{sidecar['image'].rpartition(':v')[2]}/" in said.stdout


def test_a_client_reaches_every_backend_through_the_sidecar(
    greeters: list[str], tmp_path: Path
) -> None:
    config = yaml.safe_load(CONFIGS["envoy-config"])
    listener, readiness = config["static_resources"]["listeners"]
    admin, cluster = config["static_resources"]["clusters"]
    command = [str(ENVOY), "--config-path", str(tmp_path / "envoy.yaml"), "--use-dynamic-base-id"]
    proxy = Program(command, tmp_path / "envoy.log")
    port, admin_port, ready_port = (reserve_port(proxy) for _ in range(3))
    listener["address"]["socket_address"]["port_value"] = port
    readiness["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": ready_port}
    config["admin"]["address"]["socket_address"]["port_value"] = admin_port
    (at_admin,) = admin["load_assignment"]["endpoints"][0]["lb_endpoints"]
    at_admin["endpoint"]["address"]["socket_address"]["port_value"] = admin_port
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [*map(_endpoint, greeters)]}]
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(config))
    client = [sys.executable, "-m", "examples.strategy_2_envoy_sidecar.client"]
    flags = [f"127.0.0.1:{port}", "--requests=90", "--rounds=0"]
    with proxy:
        proxy.wait_for_http(f"http://127.0.0.1:{ready_port}/ready")
        with Program([*client, *flags], tmp_path / "client.log") as greeting:
            # A client has one connection to one worker thread of Envoy's, which has its own turn.
            rows = greeting.wait_for(r"90 answers\n((?:  \S+ +30\n){3})")
    assert table(rows).keys() == set(greeters)


def _endpoint(backend: str) -> dict[str, Any]:
    host, _, port = backend.rpartition(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
