"""The custom resource definitions that the chart makes objects of, as their projects publish them.

They come from Go modules, fetched once into the cache: tests have no network.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.build import BuildError, Go, cache_directory, find_go

DEFINITIONS: Final = "CLUSTER_TESTS_DEFINITIONS"
"""The variable by which the tests learn where the definitions are."""


@dataclass(frozen=True)
class Published:
    """Definitions of a project.

    Attributes:
        module: The Go module that has them, with its version.
        digest: The module's, as go.sum has it.
        files: Their paths in the module.
    """

    module: str
    digest: str
    files: Sequence[str]


_MONITORING: Final = "example/prometheus-operator-crd/monitoring.coreos.com"
PUBLISHED: Final = (
    Published(
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        [
            f"{_MONITORING}_{kind}.yaml"
            for kind in ("podmonitors", "prometheusrules", "servicemonitors")
        ],
    ),
    Published(
        "github.com/cert-manager/cert-manager@v1.21.2",
        "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        ["deploy/crds/cert-manager.io_certificates.yaml"],
    ),
)


def definitions() -> Path:
    """Fetch the definitions that aren't there yet, and give the folder of their files.

    Raises:
        BuildError: They could not be fetched, or are not those that are pinned.
    """
    digest = hashlib.sha256(repr(PUBLISHED).encode()).hexdigest()
    target = cache_directory() / f"definitions-{digest[:16]}"
    if target.is_dir():
        return target
    go = find_go()
    target.parent.mkdir(parents=True, exist_ok=True)
    print("fetching the definitions of custom resources ...", flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".definitions-") as scratch:
        folder = Path(scratch) / "definitions"
        folder.mkdir()
        for published in PUBLISHED:
            module = _download(go, published, scratch)
            for file in published.files:
                shutil.copy(module / file, folder)
        folder.rename(target)
    return target


def _download(go: Go, published: Published, folder: str) -> Path:
    done = subprocess.run(
        [go.program, "mod", "download", "-json", published.module],
        cwd=folder,
        # The digest is held against the one above, and needs no database of digests.
        env={**go.environment(), "GOFLAGS": "", "GONOSUMDB": "*"},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise BuildError(
            f"{published.module} could not be fetched; it needs a Go module proxy to be reachable"
        )
    said = json.loads(done.stdout)
    if said["Sum"] != published.digest:
        raise BuildError(f"{published.module} is {said['Sum']}, not {published.digest}")
    return Path(said["Dir"])
