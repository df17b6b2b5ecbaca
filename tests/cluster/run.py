"""Runs the cluster tests in a network namespace of their own: `python -m tests.cluster.run`.

The arguments are pytest's; without any that names tests, all of this folder's are run.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from tests.cluster import network
from tests.cluster.build import HERE, BuildError, programs
from tests.cluster.definitions import DEFINITIONS, definitions
from tests.cluster.wheels import WHEELS, wheels

PROGRAMS: Final = "CLUSTER_TESTS_PROGRAMS"
"""The variable by which the tests learn in which folder the programs are."""

_SET_CHILD_SUBREAPER: Final = 36
_BRING_UP: Final = 'ip link set lo up && exec "$@"'


class LackingError(Exception):
    """This machine lacks what the tests need; the message says what, and how to get it."""


def main(args: Sequence[str]) -> int:
    """Build the programs, run pytest in a new network namespace, give its exit status."""
    try:
        enter = namespace_command()
        found = programs()
        fetched = {WHEELS: wheels(), DEFINITIONS: definitions()}
    except (LackingError, BuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cluster-tests-") as folder:
        link(found, Path(folder))
        os.environ[PROGRAMS] = folder
        os.environ.update({name: str(path) for name, path in fetched.items()})
        os.environ[network.OUTER_NAMESPACE] = network.namespace_id()
        named = any(HERE.name in arg for arg in args if not arg.startswith("-"))
        tests = [] if named else [str(HERE)]
        return run_inside([*enter, sys.executable, "-m", "pytest", *tests, *args])


def namespace_command() -> list[str]:
    """Give the command that runs another one in a new network namespace with `lo` up.

    Raises:
        LackingError: Namespaces, iproute2 or util-linux are lacking.
    """
    packages = {"unshare": "util-linux", "ip": "iproute2"}
    missing = [package for tool, package in packages.items() if shutil.which(tool) is None]
    if missing:
        raise LackingError(
            f"the cluster tests need {' and '.join(missing)} for a network namespace of their own; "
            f"on Debian and Ubuntu: apt-get install {' '.join(missing)}"
        )
    enter = ["unshare", "--net"]
    if os.geteuid() != 0:
        enter += ["--user", "--map-root-user"]
    enter += ["--", "sh", "-c", _BRING_UP, "sh"]
    trial = subprocess.run([*enter, "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        raise LackingError(
            "the cluster tests need a network namespace of their own; run them as root (in a "
            "container: with the capabilities SYS_ADMIN and NET_ADMIN), or allow unprivileged user "
            f"namespaces. The attempt said: {trial.stderr.strip()}"
        )
    return enter


def link(found: Mapping[str, Path], folder: Path) -> None:
    """Make a folder in which every program is found under its own name."""
    for name, path in found.items():
        (folder / name).symlink_to(path)


def run_inside(command: Sequence[str]) -> int:
    """Run the command, hand SIGINT and SIGTERM on to it, end all that it leaves behind.

    Returns:
        Its exit status.
    """
    _adopt_orphans()
    # A terminal sends its SIGINT to the whole group: the child is in it there, and gets it once.
    terminal = sys.stdin.isatty()
    children: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        if not (terminal and number == signal.SIGINT):
            for child in children:
                child.send_signal(signal.SIGINT)

    # Set before the child starts: it would inherit a SIGINT that is ignored, as in a shell's job.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_on)
    child = subprocess.Popen(command, process_group=None if terminal else 0)
    children.append(child)
    status = child.wait()
    _end_orphans()
    return status if status >= 0 else 128 - status


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans() -> None:
    own = Path(f"/proc/self/task/{os.getpid()}/children")
    while orphans := [int(pid) for pid in own.read_text().split()]:
        for pid in orphans:
            print(f"ending process {pid}, which the tests left behind", file=sys.stderr)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
