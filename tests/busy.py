"""The tests on a busy machine: `python -m tests.busy [--repeat N] [--busy N] [PYTEST_ARGS]`.

Runs the whole suite several times in a row, beside processes that do nothing but compute. What
passes on an idle machine and not here depends on the machine's speed.
"""

import argparse
import subprocess
import sys
from contextlib import ExitStack

LOOP = "while True: pass"


def main(argv: list[str] | None = None) -> int:
    """Return 0 if every run has passed, else the exit code of the first that hasn't."""
    parser = argparse.ArgumentParser(prog="python -m tests.busy", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of the suite (5)")
    parser.add_argument("--busy", type=int, default=6, help="processes that compute (6)")
    given, pytest_args = parser.parse_known_args(argv)
    with ExitStack() as stack:
        for _ in range(given.busy):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-c", LOOP]))
            # Each is ended by its own handle, before `Popen` waits for it.
            stack.callback(loop.kill)
        for number in range(given.repeat):
            print(f"run {number + 1} of {given.repeat}, beside {given.busy} processes", flush=True)
            ran = subprocess.run([sys.executable, "-m", "pytest", *pytest_args], check=False)
            if ran.returncode:
                return ran.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
