"""Measures the Kubernetes source beside client-go: `python -m benchmarks.informer`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.informer.rounds import Plan, run
from tests.cluster import network
from tests.cluster.build import BuildError, Module, build, find_go, programs
from tests.cluster.processes import ProcessError
from tests.cluster.run import PROGRAMS, LackingError, link, namespace_command, run_inside

HERE: Final = Path(__file__).resolve().parent
CLIENT_GO: Final = Module(
    "clientgo", {"clientgo": "."}, note="client-go's informers, about three minutes", parent=HERE
)


def main(args: Sequence[str]) -> int:
    """Build the programs and measure in a new network namespace; give the exit status."""
    options = _parse(args)
    if network.is_private():
        plan = Plan(tuple(options.sizes), options.rounds, options.events)
        try:
            run(plan, Path(os.environ[PROGRAMS]))
        except ProcessError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0
    try:
        enter = namespace_command()
        found = programs() | {"clientgo": build(CLIENT_GO, find_go()) / "clientgo"}
    except (LackingError, BuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="informer-benchmark-") as folder:
        link(found, Path(folder))
        os.environ[PROGRAMS] = folder
        os.environ[network.OUTER_NAMESPACE] = network.namespace_id()
        return run_inside([*enter, sys.executable, "-m", "benchmarks.informer", *args])


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.informer", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default=[1_000, 10_000, 50_000],
        help="how many EndpointSlices, multiples of 1000, ascending (1000,10000,50000)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--events", type=int, default=2_000, help="updates in a burst (2000)")
    return parser.parse_args(args)


def _sizes(text: str) -> list[int]:
    sizes = sorted({int(part) for part in text.split(",")})
    if any(size <= 0 or size % 1_000 for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r}: expected multiples of 1000")
    return sizes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
