"""The Dockerfile's own steps, carried out in a clean prefix, make what the image should be.

Without an engine: a shell carries out each RUN with the variables that hold there, beside what the
stage copies. The wheels are fetched before, so that pip asks no registry.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import network
from tests.cluster.confined import confined, may_change_user
from tests.cluster.processes import ManagedProcess
from tests.cluster.wheels import ROOT, WHEELS
from tests.image.dockerfile import Dockerfile, Stage, expand

FILE: Final = Dockerfile.read(ROOT / "Dockerfile")
ENDPOINTS: Final = ROOT / "examples" / "endpoints.yaml"
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Image:
    """What was installed.

    Attributes:
        build: The folder that the stages were built in.
        variables: The variables of the last stage.
    """

    build: Path
    variables: Mapping[str, str]

    @property
    def prefix(self) -> Path:
        """Where the service was installed."""
        return Path(self.variables["PREFIX"])

    def environment(self) -> dict[str, str]:
        """Return the environment of a container, and nothing of this machine's."""
        names = dict(_assignments(FILE.stages["service"].one("ENV").text))
        return {name: self.variables[name] for name in names}

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in it."""
        return subprocess.run(
            command,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def installed(self) -> set[str]:
        """Return what is installed beside the service itself, as NAME==VERSION."""
        listing = "print(*(f'{d.name}=={d.version}' for d in distributions()))"
        done = self.run("python", "-c", f"from importlib.metadata import distributions; {listing}")
        found = {_normal(each) for each in done.stdout.split()}
        (own,) = {each for each in found if each.startswith("lookaside-lb==")}
        return found - {own}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, built into folders that every user may read."""
    folder = os.environ.get(WHEELS)
    if folder is None or not network.is_private():
        pytest.skip("needs the wheels of the image: make test-cluster")
    with tempfile.TemporaryDirectory(prefix="image-") as scratch:
        Path(scratch).chmod(0o755)
        base, build = Path(scratch, "base"), Path(scratch, "build")
        venv.create(base, with_pip=True, symlinks=True)
        build.mkdir()
        variables = {
            **FILE.arguments,
            "PREFIX": str(Path(scratch, "prefix")),
            "PATH": f"{base / 'bin'}:/usr/bin:/bin",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": folder,
            "HOME": scratch,
        }
        for name in ("base", "build", "bill"):
            variables = _carry_out(FILE.stages[name], variables, build)
        yield Image(build, _carry_out(FILE.stages["service"], variables, build))


def test_it_has_what_is_pinned_and_nothing_else(image: Image) -> None:
    pins = (ROOT / "requirements" / "runtime.txt").read_text()
    pinned = re.findall(r"^([\w.-]+==[\w.]+)(?: ;.*)? \\$", pins, re.MULTILINE)
    assert image.installed() <= {_normal(each) for each in pinned}
    needed = (ROOT / "requirements" / "runtime.in").read_text()
    names = {_normal(name) for name in re.findall(r"^[\w-]+", needed, re.MULTILINE)}
    assert names <= {each.partition("==")[0] + "==" for each in image.installed()}


def test_all_of_it_is_compiled(image: Image) -> None:
    sources = [path for path in image.prefix.rglob("*.py") if "bin" not in path.parts]
    tag = sys.implementation.cache_tag
    lacking = [
        path
        for path in sources
        if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").exists()
    ]
    packages = {part for path in sources for part in path.parts}
    assert {"lookaside", "grpc", "aiohttp", "yarl", "msgspec"} <= packages
    assert lacking == []


def test_the_bill_of_materials_names_all_of_it(image: Image) -> None:
    bill = json.loads((image.build / "lookaside.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "lookaside-lb"
    assert image.installed() <= {
        _normal(f"{each['name']}=={each['version']}") for each in bill["components"]
    }


def test_it_serves_as_another_user_who_may_write_nowhere(image: Image, tmp_path: Path) -> None:
    last = FILE.stages["service"]
    user = last.one("USER").text.partition(":")[0]
    shutil.copy(ENDPOINTS, image.build / "endpoints.yaml")
    (image.build / "endpoints.yaml").chmod(0o644)
    command = [*last.one("ENTRYPOINT").words(), *last.one("CMD").words()]
    source = f"file:{image.build / 'endpoints.yaml'}"
    argv = confined([*command, "--source", source], image.environment(), user)
    check = json.loads(last.one("HEALTHCHECK").text.partition(" CMD ")[2])
    with ManagedProcess("image", argv, tmp_path) as service:
        service.wait_until(lambda: image.run(*check).returncode == 0, READY_SECONDS)
        got = image.run("lookaside", "get", "greeter.grpc-services", "-o", "json")
        assert got.returncode == 0, got.stderr
        assert "127.0.0.1:50063" in got.stdout
        status = Path(f"/proc/{service.pid}/status").read_text()
        if may_change_user():
            assert re.search(rf"^Uid:\s+{user}\s+{user}\s", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        service.signal(getattr(signal, last.one("STOPSIGNAL").text))
        assert service.wait(STOP_SECONDS) == 0
        assert image.run(*check).returncode != 0
    said = service.log.read_text()
    assert '"event":"stopped"' in said
    assert "Traceback" not in said


def test_without_a_source_it_says_what_it_needs(image: Image) -> None:
    last = FILE.stages["service"]
    done = image.run(*last.one("ENTRYPOINT").words(), *last.one("CMD").words())
    assert done.returncode == 2
    assert "no source is given; expected --source" in done.stderr


def _carry_out(stage: Stage, variables: Mapping[str, str], build: Path) -> dict[str, str]:
    """Carry out a stage; return the variables that hold at its end."""
    own = dict(variables)
    for each in stage.instructions:
        if each.name == "ARG":
            name, given, value = each.text.partition("=")
            own.setdefault(name, value if given else "")
        elif each.name == "ENV":
            for name, value in _assignments(each.text):
                own[name] = expand(value, own)
        elif each.name == "COPY" and "--from" not in each.text:
            *sources, target = each.text.split()
            for source in sources:
                inside = Path(source).name if target.endswith("/") else ""
                _copy(ROOT / source, build / target / inside)
        elif each.name == "RUN":
            done = subprocess.run(
                ["sh", "-ec", each.text],
                cwd=build,
                env=own,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert done.returncode == 0, f"{each.text}\n{done.stdout}{done.stderr}"
    return own


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _normal(requirement: str) -> str:
    name, _, version = requirement.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def _assignments(text: str) -> list[tuple[str, str]]:
    return re.findall(r'(\w+)="?([^"\s]*)"?', text)
