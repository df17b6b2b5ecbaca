"""The modules that the architecture names are there."""

import re
from typing import Final

import pytest

from tests.docs.fences import DOCS, ROOT

_PAGE: Final = (DOCS / "architecture.md").read_text()
_PARTS: Final = dict(
    zip(
        ("lookaside", "client_resolver/client_resolver"),
        re.findall(r"^## The (?:service|resolver), .*?(?=^## )", _PAGE, re.MULTILINE | re.DOTALL),
        strict=True,
    )
)


@pytest.mark.parametrize("package", _PARTS)
def test_every_module_that_is_named_is_in_its_package(package: str) -> None:
    here = {path.name for path in (ROOT / package).rglob("*.py")}
    named = {name.rpartition("/")[2] for name in re.findall(r"`([\w/]+\.py)`", _PARTS[package])}

    assert named - here == set()
    assert len(named) > 20


def test_every_folder_of_the_packages_is_named() -> None:
    for package, text in _PARTS.items():
        for folder in (ROOT / package).iterdir():
            if folder.is_dir() and folder.name != "__pycache__":
                assert f"{folder.name}/" in text, f"{package}/{folder.name}"


def test_every_path_that_is_named_is_there() -> None:
    for path in re.findall(r"`((?:client_resolver|lookaside|protos|tests)/[\w./]*)`", _PAGE):
        assert (ROOT / path).exists(), path
