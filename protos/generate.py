"""Generate the checked-in Python stubs of every package that uses them, and copy what they share.

Run by ``make protos`` with the lowest grpcio-tools that the packages support: generated code
refuses a runtime older than its generator. Both distributions get the same bytes of descriptor
under the same file name, so that they can be loaded into one process.

With ``--check`` nothing is written; the exit code is 1 if a checked-in stub differs.
"""

import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent
STUBS = {
    ROOT / "../lookaside/_pb": ("lookaside", "grpclb"),
    ROOT / "../client_resolver/client_resolver/_pb": ("lookaside", "orca"),
    ROOT / "../lookaside/demo/_pb": ("greeter",),
    ROOT / "../examples/greeter/_pb": ("greeter", "orca"),
    ROOT / "../tests/conformance/_pb": ("echo",),
}
ENVOY = ROOT / "../lookaside/_pb/xds"
"""The stubs of xDS. Its many packages, each with a file or two, are modules of one."""
SHARED = ROOT / "service_config/config_fields.py"
COPIES = (
    ROOT / "../lookaside/policy/config_fields.py",
    ROOT / "../client_resolver/client_resolver/config/config_fields.py",
)
"""What neither distribution can import from the other, and both must agree on."""


def generate(package: str) -> dict[str, str]:
    """Return the stubs of one proto package, as file name to text."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            f"{package}/{package}.proto",
        ]
        if protoc.main(arguments) != 0:
            raise SystemExit(1)
        return {
            path.name: path.read_text().replace(f"from {package} import", "from . import")
            for path in sorted(Path(out, package).iterdir())
            if path.name != f"{package}_pb2_grpc.py" or "Stub(" in path.read_text()
        }


def generate_xds() -> dict[str, str]:
    """Return the messages of xDS, as file name to text. The service speaks it in bytes."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("envoy/**/*.proto")),
        ]
        if protoc.main(arguments) != 0:
            raise SystemExit(1)
        return {
            path.name: re.sub(r"from envoy\.[\w.]+ import", "from . import", path.read_text())
            for path in Path(out).glob("envoy/**/*.py*")
        }


def main() -> int:
    """Write the stubs, or compare them, and return the exit code."""
    check = "--check" in sys.argv[1:]
    wanted = {copy: SHARED.read_text() for copy in COPIES}
    for folder, packages in STUBS.items():
        wanted[folder / "__init__.py"] = ""
        for package in packages:
            wanted |= {folder / name: text for name, text in generate(package).items()}
    wanted[ENVOY / "__init__.py"] = ""
    wanted |= {ENVOY / name: text for name, text in generate_xds().items()}
    drift = False
    for place, text in wanted.items():
        path = place.resolve()
        if path.exists() and path.read_text() == text:
            continue
        drift = True
        print(f"{path.relative_to(ROOT.parent.resolve())} {'differs' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return int(check and drift)


if __name__ == "__main__":
    sys.exit(main())
