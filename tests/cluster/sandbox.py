"""A container without an engine: a program in network and mount namespaces of its own."""

import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.cluster import network
from tests.docs.fences import ROOT

ADDRESS: Final = "<the sandbox's address>"
"""The value of a variable that is the sandbox's own address."""

_NUMBERS: Final = itertools.count(1)
_PROGRAMS: Final = str(Path(sys.executable).parent)
_OWN: Final = [Path(path) for path in (ROOT, sys.prefix, sys.base_prefix)]
"""What must be seen by every program, wherever the checkout lies: in /tmp, for example."""

_TAIL: Final = 4000

# The image has mount points where the machine has none: /etc and /run are made anew, with links to
# what was there.
_ENTER: Final = """\
set -e
ip link set lo up
echo entered
read go
ip address add "$SANDBOX_ADDRESS/30" dev eth0
ip link set eth0 up
ip route add default via "$SANDBOX_GATEWAY"
mount -t tmpfs none /mnt
mkdir /mnt/etc
mount --bind /etc /mnt/etc
mount -t tmpfs none /etc
for each in /mnt/etc/* /mnt/etc/.[!.]*; do
  [ -e "$each" ] && ln -s "$each" /etc/
done
rm -f /etc/hosts /etc/resolv.conf
cat "$SANDBOX_HOSTS" > /etc/hosts
echo nameserver 127.0.0.1 > /etc/resolv.conf
mount -t tmpfs none /run
"""


@dataclass(frozen=True)
class Mount:
    """A folder of the machine, and where the program finds it."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Container:
    """What runs in a sandbox.

    Attributes:
        command: The program and its arguments; programs of this virtual environment are found.
        environment: All of its variables, beside PATH.
        mounts: What it sees beside the machine's own files.
        hosts: Addresses by name, for its /etc/hosts.
        read_only: Whether it may write nowhere but in its mounts.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False


class Sandbox:
    """A container that runs, with an address of its own; see `network.allow_forwarding`.

    It is run by the user of the tests, for another could not read this virtual environment.

    Args:
        name: The stem of its log's name.
        container: What runs.
        directory: Where the log goes.

    Attributes:
        address: Its IPv4 address.
        log: What it writes.
    """

    def __init__(self, name: str, container: Container, directory: Path) -> None:
        number = next(_NUMBERS)
        base = f"10.246.{number // 64}.{number % 64 * 4}"
        prefix, _, last = base.rpartition(".")
        self.address = f"{prefix}.{int(last) + 2}"
        self.log = directory / f"{name}.log"
        self._gateway = f"{prefix}.{int(last) + 1}"
        self._link = f"pod{number}"
        self._container = container
        self._hosts = directory / f"{name}.hosts"
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(0)

    def start(self) -> None:
        """Start the program. Its namespaces end with it."""
        lines = [f"{address}\t{name}\n" for name, address in self._container.hosts.items()]
        self._hosts.write_text("".join(["127.0.0.1\tlocalhost\n", *lines]))
        own = {
            "PATH": f"{_PROGRAMS}:{os.environ['PATH']}",
            "SANDBOX_ADDRESS": self.address,
            "SANDBOX_GATEWAY": self._gateway,
            "SANDBOX_HOSTS": str(self._hosts),
        }
        with self.log.open("ab") as log:
            self._child = child = subprocess.Popen(
                ["unshare", "--net", "--mount", "--", "sh", "-c", self._script()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=own,
                text=True,
                process_group=0,
            )
        assert child.stdin is not None
        assert child.stdout is not None
        if child.stdout.readline() != "entered\n":
            raise RuntimeError(f"no sandbox: {self.tail()}")
        network.link(self._link, self._gateway, child.pid)
        child.stdin.write("go\n")
        child.stdin.close()

    def ended(self) -> int | None:
        """Return its exit status; None while it runs."""
        assert self._child is not None
        return self._child.poll()

    def stop(self, grace: float) -> int:
        """End it with SIGTERM, after `grace` seconds with SIGKILL; returns its exit status."""
        child = self._child
        assert child is not None
        child.terminate()
        try:
            status = child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
            status = child.wait()
        if child.stdout is not None:
            child.stdout.close()
        return status

    def wait(self, timeout: float) -> int:
        """Wait until it has ended, and return its exit status."""
        assert self._child is not None
        return self._child.wait(timeout)

    def tail(self) -> str:
        """Give the end of its log."""
        return self.log.read_text(errors="replace")[-_TAIL:] if self.log.exists() else ""

    def _script(self) -> str:
        lines = []
        # What lies over other mounts' sources comes last.
        for each in sorted(self._container.mounts, key=lambda mount: mount.target == "/tmp"):
            target = shlex.quote(each.target)
            covered = [path for path in _OWN if path.is_relative_to(each.target)]
            for number, path in enumerate(covered):
                lines += _bound(str(path), f"/mnt/own/{number}")
            lines += _bound(str(each.source), each.target)
            for number, path in enumerate(covered):
                lines += _bound(f"/mnt/own/{number}", str(path))
            if each.read_only:
                lines.append(f"mount -o remount,bind,ro {target}")
        if self._container.read_only:
            lines += [f"mount -o remount,ro {place}" for place in ("/etc", "/run", "/mnt")]
            lines.append("mount -o remount,bind,ro /")
        variables = {"PATH": _PROGRAMS, **self._container.environment}
        filled = {name: value.replace(ADDRESS, self.address) for name, value in variables.items()}
        given = [shlex.quote(f"{name}={value}") for name, value in filled.items()]
        command = [shlex.quote(part) for part in self._container.command]
        # All that it writes is in one log, as with an engine.
        lines.append(f"exec >&2 env -i {' '.join(given)} {' '.join(command)} < /dev/null")
        return _ENTER + "\n".join(lines)


def _bound(source: str, target: str) -> list[str]:
    """Return the commands that have a folder appear in another place."""
    source, target = shlex.quote(source), shlex.quote(target)
    return [f"mkdir -p {target}", f"mount --bind {source} {target}"]
