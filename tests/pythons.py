"""Runs tests on each Python that the packages support and this machine has: `make test-pythons`.

Which are supported, the classifiers of the service say; the client's are the same. An interpreter
is found as `python3.X` on the PATH, or among pyenv's. The one that `make test` runs on is left out.
On each of the others, `make test` runs with `PYTHON` set to it, in an environment of its own.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = ROOT / "pyproject.toml"
TESTS = ("api", "client_resolver", "config", "conformance", "policy", "registry", "sources")
"""The client's tests, and those of the service that are about asyncio, gRPC and parsing."""

_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def supported(project: Path) -> list[str]:
    """Return the versions, such as `3.12`, that a project's classifiers name."""
    classifiers = tomllib.loads(project.read_text())["project"]["classifiers"]
    return [match[1] for one in classifiers if (match := _CLASSIFIER.fullmatch(one))]


def find(version: str) -> str | None:
    """Return the path of an interpreter of this version. None: the machine has none."""
    says = ["-c", "import sys; print(sys.executable)"]
    # pyenv puts a command on the PATH for each version that it has, which runs one that is chosen.
    installed = _output(["pyenv", "versions", "--bare"]).split()
    chosen = [one for one in installed if one.startswith(f"{version}.")]
    named = [f"python{version}", *says]
    commands = [
        named,
        *(["env", f"PYENV_VERSION={one}", "pyenv", "exec", *named] for one in chosen),
    ]
    return next((found for command in commands if (found := _output(command))), None)


def _output(command: list[str]) -> str:
    """Return what a command prints. Empty: it isn't there, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def main(arguments: list[str]) -> int:
    """Run the tests on each version. Return the exit status: 0 if all that could be run passed."""
    failed = []
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in supported(PROJECT):
        if version == own:
            print(f"Python {version}: `make test` runs on it", flush=True)
            continue
        interpreter = find(version)
        if interpreter is None:
            print(f"Python {version}: skipped, for there is none here", flush=True)
            continue
        print(f"Python {version}: {interpreter}", flush=True)
        paths = " ".join(arguments or [f"tests/{name}" for name in TESTS])
        make = ["make", f"PYTHON={interpreter}", f"PYTEST_ARGS=-q {paths}", "test"]
        if subprocess.run(make, cwd=ROOT, check=False).returncode:
            failed.append(version)
    if failed:
        print(f"failed on Python {', '.join(failed)}", flush=True)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
