"""The wheels that the image is made of, fetched once into the cache: tests have no network."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.cluster.build import HERE, BuildError, cache_directory

WHEELS: Final = "CLUSTER_TESTS_WHEELS"
"""The variable by which the tests learn where the wheels are."""

ROOT: Final = HERE.parents[1]
_PINS: Final = (
    ROOT / "requirements" / "image.txt",
    ROOT / "requirements" / "runtime.txt",
)


def wheels() -> Path:
    """Fetch the wheels that aren't there yet, checked by their hashes, and give their folder.

    Raises:
        BuildError: A wheel could not be fetched.
    """
    digest = hashlib.sha256(sys.version.encode())
    for pins in _PINS:
        digest.update(pins.read_bytes())
    target = cache_directory() / f"wheels-{digest.hexdigest()[:16]}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    print("fetching the wheels of the images ...", flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".wheels-") as scratch:
        folder = Path(scratch) / "wheels"
        for pins in _PINS:
            _download(pins, folder)
        folder.rename(target)
    return target


def _download(pins: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"]
    flags = ["--only-binary=:all:", "--dest", str(folder), "--requirement", str(pins)]
    if subprocess.run([*command, *flags], check=False).returncode:
        raise BuildError(
            f"the wheels of {pins} could not be fetched; it needs PyPI to be reachable"
        )
