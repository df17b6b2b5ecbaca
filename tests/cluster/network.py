"""The network namespace that the cluster tests run in, seen from inside."""

import os
import subprocess
from pathlib import Path
from typing import Final

OUTER_NAMESPACE: Final = "CLUSTER_TESTS_OUTER_NETNS"
"""The variable by which the runner tells the id of the namespace that it left."""


def namespace_id() -> str:
    """Give the id of the network namespace that this process is in."""
    return str(Path("/proc/self/ns/net").readlink())


def is_private() -> bool:
    """Say whether the runner has put this process into a network namespace of its own."""
    outer = os.environ.get(OUTER_NAMESPACE)
    return outer is not None and outer != namespace_id()


def add_address(address: str) -> None:
    """Put an IPv4 address on `lo`, so that a test can listen on it as a pod would.

    Raises:
        RuntimeError: This process is in no private namespace, or the address is taken.
    """
    _ip("addr", "add", f"{address}/32", "dev", "lo")


def remove_address(address: str) -> None:
    """Take an IPv4 address from `lo`: from then on connections to it fail as unreachable.

    Raises:
        RuntimeError: This process is in no private namespace, or the address is not there.
    """
    _ip("addr", "del", f"{address}/32", "dev", "lo")


def link(name: str, address: str, process: int) -> None:
    """Connect a process's network namespace with this one.

    Args:
        name: The name of the link's end here; the other end is eth0.
        address: The IPv4 address of the end here, in a network of four.
        process: The process's id.

    Raises:
        RuntimeError: This process is in no private namespace, or there are no such links.
    """
    _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(process))
    _ip("addr", "add", f"{address}/30", "dev", name)
    _ip("link", "set", name, "up")


def allow_forwarding() -> None:
    """Let namespaces that are connected with this one reach each other."""
    if not is_private():
        raise RuntimeError("not in a network namespace of its own; start by tests.cluster.run")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _ip(*args: str) -> None:
    if not is_private():
        raise RuntimeError("not in a network namespace of its own; start by tests.cluster.run")
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(args)}: {done.stderr.strip()}")
