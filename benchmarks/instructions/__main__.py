"""What an RPC costs in instructions: ``python -m benchmarks.instructions [TREE …]``.

Where other work makes times worthless, instructions tell: callgrind counts those that the calling
thread executes for an RPC, grpc's own call stubbed, so that nothing is left but this package's part
and a stub's. Further checkouts of this project can be counted beside this one. Needs valgrind.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.instructions.rows import MARK, NAMES

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)
_MISSING = "valgrind is not installed (on Debian: apt-get install valgrind): nothing is counted."


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("trees", nargs="*", default=["."], help="checkouts (this one)")
    parser.add_argument("--shells", nargs="+", choices=("sync", "aio"), default=["sync", "aio"])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="ROW")
    parser.add_argument("--rpcs", type=int, default=1000, help="RPCs of each row (1000)")
    options = parser.parse_args()
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print(_MISSING)
        return
    trees = [Path(tree).resolve() for tree in options.trees]
    columns = [
        (f"{shell}, {tree.name}", _counted(valgrind, tree, shell, options))
        for shell in options.shells
        for tree in trees
    ]
    print(_table(options.only, columns))


def _counted(
    valgrind: str, tree: Path, shell: str, options: argparse.Namespace
) -> Mapping[str, float]:
    """Return the instructions per RPC of each row."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            valgrind,
            "--tool=callgrind",
            "--separate-threads=yes",
            # Each call of this function writes what was counted and begins again at 0.
            f"--dump-before={MARK}",
            f"--callgrind-out-file={folder}/counts",
            sys.executable,
            str(_HERE / "rows.py"),
            shell,
            str(options.rpcs),
            *options.only,
        ]
        # The tree's package, before the one that is installed; and this tree's benchmarks.
        path = os.pathsep.join((str(tree / "client_resolver"), str(_ROOT)))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{tree}, {shell}: {done.stderr}")
        # One of each thread: the first, -01, is the one that calls. Two dumps a row: what came
        # before its RPCs, and they.
        return {
            name: _total(Path(folder, f"counts.{2 * number}-01")) / options.rpcs
            for number, name in enumerate(options.only, 1)
        }


def _total(dump: Path) -> int:
    found = _TOTAL.search(dump.read_text())
    if found is None:
        raise ValueError(f"{dump} tells no total")
    return int(found[1])


def _table(names: Sequence[str], columns: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    width = max(map(len, names))
    lines = ["  ".join([" " * width, *(head for head, _ in columns)])]
    for name in names:
        cells = [f"{counts[name]:.0f}".rjust(len(head)) for head, counts in columns]
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
