"""The Dockerfiles keep what they promise. What they build is tested in tests/cluster."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.image.dockerfile import Dockerfile, Instruction, expand

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "Dockerfile", ROOT / "examples" / "Dockerfile"]
SERVICE = Dockerfile.read(FILES[0])
DIGEST = f"sha256:{'a' * 64}"

each_file = pytest.mark.parametrize("path", FILES, ids=["service", "examples"])


@each_file
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    command: list[str | Path] = [hadolint, "--no-color", "--failure-threshold", "style", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@each_file
def test_the_base_is_pinned_by_the_digest_that_is_given(path: Path) -> None:
    file = Dockerfile.read(path)
    bases = [expand(stage.base, file.arguments) for stage in file.stages.values()]
    assert set(bases) <= {"python:3.13-slim", "scratch", *file.stages}
    pinned = {**file.arguments, "PYTHON_DIGEST": DIGEST}
    (base,) = [stage.base for stage in file.stages.values() if "PYTHON_IMAGE" in stage.base]
    assert expand(base, pinned) == f"python:3.13-slim@{DIGEST}"


@pytest.mark.parametrize(
    ("release", "digest", "built"), [("", "", True), ("1", "", False), ("1", DIGEST, True)]
)
def test_a_release_is_refused_without_a_digest(release: str, digest: str, built: bool) -> None:
    check = SERVICE.stages["base"].one("RUN").text
    env = {"RELEASE": release, "PYTHON_DIGEST": digest}
    done = subprocess.run(
        ["sh", "-c", check], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode == 0) is built
    assert ("PYTHON_DIGEST" in done.stderr) is not built


@each_file
def test_the_last_stage_gets_the_prefix_alone_and_runs_nothing_as_root(path: Path) -> None:
    file = Dockerfile.read(path)
    last = file.stages[next(reversed(file.stages))]
    assert last.base == "base"
    assert last.all("RUN") == []
    assert last.one("COPY") == Instruction("COPY", "--from=build ${PREFIX} ${PREFIX}")
    assert last.one("USER").text == "65532:65532"
    names = [each.name for each in last.instructions]
    assert names.index("USER") > names.index("COPY")


@each_file
def test_all_that_is_installed_from_elsewhere_is_a_wheel_checked_by_its_hash(path: Path) -> None:
    steps = [
        step
        for stage in Dockerfile.read(path).stages.values()
        for run in stage.all("RUN")
        for step in run.text.split("&&")
        if "pip " in step.replace("--without-pip ", "")
    ]
    assert steps
    for step in steps:
        own = "--no-deps" in step and ("dist/*.whl" in step or "--no-build-isolation" in step)
        assert own or ("--require-hashes" in step and "--only-binary=:all:" in step), step


@each_file
def test_no_file_of_the_image_names_a_registry(path: Path) -> None:
    pins = (ROOT / "requirements" / "image.txt", ROOT / "examples" / "requirements.txt")
    for file in (path, *pins):
        assert "://" not in file.read_text()
    assert "/" not in Dockerfile.read(path).arguments["PYTHON_IMAGE"]


@each_file
def test_what_is_copied_is_not_ignored(path: Path) -> None:
    beside = path.with_name("Dockerfile.dockerignore")
    ignore = beside if beside.exists() else ROOT / ".dockerignore"
    lines = ignore.read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    left_out = {line for line in lines if not line.startswith(("#", "!", "*"))}
    for stage in Dockerfile.read(path).stages.values():
        for copy in stage.all("COPY"):
            if "--from" not in copy.text:
                for source in copy.text.split()[:-1]:
                    above = {source, *map(str, Path(source).parents)}
                    assert above & kept
                    assert not above & left_out
                    assert (ROOT / source).exists()


def test_the_version_is_that_of_the_package_and_of_the_chart() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    last = SERVICE.stages["service"]
    assert f"VERSION={version}" in [each.text for each in last.all("ARG")]
    text = FILES[0].read_text()
    assert f"--tag lookaside/lookaside:{version} ." in text
    assert f"appVersion: {version}" in (ROOT / "helm" / "lookaside" / "Chart.yaml").read_text()


def test_the_service_is_stopped_by_sigterm_and_listens_where_the_chart_says() -> None:
    last = SERVICE.stages["service"]
    assert last.one("STOPSIGNAL").text == "SIGTERM"
    assert last.one("EXPOSE").text == "50052 9090"
    assert last.one("ENTRYPOINT").words() == ["lookaside"]
