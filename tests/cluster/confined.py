"""A command as an unprivileged user who can write nowhere, by a mount namespace of its own."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_KEPT: Final = ("/proc", "/sys", "/dev")


def confined(
    command: Sequence[str], environment: Mapping[str, str], user: str, temporary: str = "/tmp"
) -> list[str]:
    """Return the command line that runs a command so; it replaces itself step by step.

    Every mount is made read-only but those of the kernel's own file systems. Where this Python lies
    in a folder that the user may not enter, such as root's, that folder is covered by an empty one
    with Python alone in it.

    Args:
        command: The command.
        environment: All of its variables.
        user: The id of the user and the group; as it is where it can't be changed.
        temporary: A folder to put aside Python in.
    """
    lines = ["set -e", "mount --make-rprivate /", *_reveal(Path(sys.base_prefix), Path(temporary))]
    lines.append(
        "cut -d' ' -f5 /proc/self/mountinfo | while read -r each; do case $each in "
        + "|".join(f"{kept}|{kept}/*" for kept in _KEPT)
        + ') ;; *) mount -o remount,bind,ro "$each" ;; esac; done'
    )
    lines.append(
        "if touch /tmp/written 2>/dev/null; then echo '/tmp can be written to' >&2; exit 1; fi"
    )
    become = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    if may_change_user():
        become += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    given = [f"{name}={value}" for name, value in environment.items()]
    last = ["exec", *become, "--", "env", "-i", *given, *command]
    lines.append(" ".join(shlex.quote(part) for part in last))
    return ["unshare", "--mount", "--", "sh", "-c", "\n".join(lines)]


def may_change_user() -> bool:
    """Say whether this process, root in its namespace, may become any user: it has them all."""
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _reveal(folder: Path, temporary: Path) -> list[str]:
    hidden = [each for each in folder.parents if not each.stat().st_mode & 0o001]
    if not hidden:
        return []
    top, aside = shlex.quote(str(hidden[-1])), f"$(mktemp -d -p {shlex.quote(str(temporary))})"
    name = shlex.quote(str(folder))
    return [
        f"aside={aside}",
        f'mount --bind {name} "$aside"',
        f"mount -t tmpfs -o mode=755 none {top}",
        f"mkdir -p {name}",
        f'mount --move "$aside" {name}',
        'rmdir "$aside"',
    ]
