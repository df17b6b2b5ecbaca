"""What a channel costs while nothing is asked of it: ``python -m benchmarks.idle``.

One server listens on as many loopback addresses as there are to be backends. Each subject is a
channel to all of them in a process of its own, measured once it is connected and has settled.
"""

import argparse
import itertools
import multiprocessing

from benchmarks.idle.backends import backends
from benchmarks.idle.channel import Sample, measure
from benchmarks.idle.subjects import SUBJECTS

_HEAD = ("backends", "connected s", "Python threads", "threads", "CPU %", "MiB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--backends", type=int, nargs="+", default=[1, 100, 1_000])
    parser.add_argument("--settle", type=float, default=10.0, help="seconds before (10)")
    parser.add_argument("--seconds", type=float, default=20.0, help="that are measured (20)")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    options = parser.parse_args()
    width = max(map(len, SUBJECTS))
    with backends(max(options.backends)) as addresses:
        print("  ".join([" " * width, *_HEAD]))
        for count, name in itertools.product(options.backends, options.only):
            with multiprocessing.get_context("spawn").Pool(1) as process:
                arguments = (name, addresses[:count], options.settle, options.seconds)
                sample = process.apply(measure, arguments)
            print(f"{name.ljust(width)}  {_row(count, sample)}", flush=True)


def _row(count: int, sample: Sample) -> str:
    cells = (
        f"{count}",
        f"{sample.connected:.2f}",
        f"{sample.python_threads}",
        f"{sample.threads}",
        f"{sample.cpu:.2f}",
        f"{sample.memory:.1f}",
    )
    return "  ".join(cell.rjust(len(head)) for cell, head in zip(cells, _HEAD, strict=True))


if __name__ == "__main__":
    main()
