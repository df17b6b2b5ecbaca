"""What picking costs an RPC: ``python -m benchmarks.overhead``.

Unary RPCs of 64 bytes over loopback. All subjects take turns within one run, in another order each
round, and each figure is set against the plain channel's of the same round: the machine's noise
hits all alike. Backends run in one process, Envoy in another, the client in a third.
"""

import argparse
import itertools
import multiprocessing
import sys

from benchmarks.overhead.backends import backends
from benchmarks.overhead.client import SHELLS, measure
from benchmarks.overhead.envoy import sidecar


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--shells", nargs="+", choices=SHELLS, default=list(SHELLS))
    parser.add_argument("--backends", type=int, nargs="+", default=[3, 100])
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=40, help="turns of each subject (40)")
    parser.add_argument("--calls", type=int, default=320, help="RPCs a turn (320)")
    parser.add_argument("--only", nargs="+", default=[], help="subjects next to the plain channel")
    options = parser.parse_args()
    with backends(max(options.backends)) as addresses:
        clusters = [addresses[:count] for count in options.backends]
        with sidecar(clusters) as envoy:
            for shell, (count, port) in itertools.product(
                options.shells, zip(options.backends, envoy.ports, strict=True)
            ):
                # A process each: the sync and the aio shell don't share one.
                arguments = (shell, addresses[:count], port, envoy.pid, options)
                process = multiprocessing.get_context("spawn").Process(
                    target=measure, args=arguments
                )
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit(f"the client ended with {process.exitcode}")


if __name__ == "__main__":
    main()
