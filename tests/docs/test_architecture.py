"""The architecture names every module of both packages, and no other."""

import re
from typing import Final

import pytest

from tests.docs.fences import DOCS, ROOT

_PAGE: Final = (DOCS / "architecture.md").read_text()
_PACKAGES: Final = dict(
    zip(
        ("lookaside", "client_resolver/client_resolver"),
        re.findall(r"^## The (?:service|resolver), .*?(?=^## )", _PAGE, re.MULTILINE | re.DOTALL),
        strict=True,
    )
)
_TOP: Final = "Top level"


def _rooms(package: str) -> dict[str, str]:
    """The text about each folder of a package, and about its modules that are in none."""
    parts = re.split(r"^### (?:`(\w+)/`|(Top level)).*$", _PACKAGES[package], flags=re.MULTILINE)
    names = [folder or top for folder, top in zip(parts[1::3], parts[2::3], strict=True)]
    # What follows under headings of another kind is about no folder.
    texts = [re.split(r"^### ", text, flags=re.MULTILINE)[0] for text in parts[3::3]]
    assert len(set(names)) == len(names)
    return dict(zip(names, texts, strict=True))


def _modules(package: str, room: str) -> list[str]:
    """The modules of a folder, by their paths in the package."""
    top = ROOT / package
    paths = top.glob("*.py") if room == _TOP else (top / room).rglob("*.py")
    return [
        path.relative_to(top).as_posix()
        for path in paths
        if not path.name.startswith("__") and "_pb" not in path.parts
    ]


def _means(name: str, modules: list[str]) -> list[str]:
    """The modules that a name may stand for: a path's end."""
    return [one for one in modules if f"/{one}".endswith(f"/{name}")]


def _named(package: str, room: str) -> set[str]:
    return set(re.findall(r"`([\w/]+\.py)`", _rooms(package)[room]))


_ROOMS: Final = [(package, room) for package in _PACKAGES for room in _rooms(package)]


@pytest.mark.parametrize("package", _PACKAGES)
def test_every_folder_of_a_package_has_a_section(package: str) -> None:
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert set(_rooms(package)) == folders | {_TOP}


@pytest.mark.parametrize(("package", "room"), _ROOMS)
def test_a_section_names_every_module_of_its_folder(package: str, room: str) -> None:
    modules = _modules(package, room)
    # A name that several modules have names none of them.
    found = {means[0] for name in _named(package, room) if len(means := _means(name, modules)) == 1}
    assert set(modules) - found == set()


@pytest.mark.parametrize(("package", "room"), _ROOMS)
def test_a_section_names_no_module_that_is_not_there(package: str, room: str) -> None:
    top = ROOT / package
    everywhere = [path.relative_to(top).as_posix() for path in top.rglob("*.py")]
    assert [name for name in _named(package, room) if not _means(name, everywhere)] == []


def test_every_path_that_is_named_is_there() -> None:
    for path in re.findall(r"`((?:client_resolver|lookaside|protos|tests)/[\w./]*)`", _PAGE):
        assert (ROOT / path).exists(), path
