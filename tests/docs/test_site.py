"""The site builds without a warning, and links of the pages that are not on it lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.fences import PAGES, ROOT

_LINK: Final = re.compile(r"\]\((?!\w+:)(?P<path>[^)#\s]*)(?:#[^)]*)?\)")
_SNIPPET: Final = re.compile(r'^ *--8<-- "(?P<path>[^":]+)', re.MULTILINE)
_TEXT: Final = [
    *PAGES,
    *(ROOT / name for name in ("client_resolver/README.md", "benchmarks/README.md")),
]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: broken links, anchors and snippets are errors."""
    pytest.importorskip("material", reason="needs mkdocs-material")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


def test_the_site_has_a_page_for_each_file(site: Path) -> None:
    built = {path.parent.relative_to(site) for path in site.rglob("index.html")}
    docs = ROOT / "docs"
    for page in docs.rglob("*.md"):
        own = page.relative_to(docs).with_suffix("")
        assert (own.parent if own.name == "index" else own) in built


@pytest.mark.parametrize("page", _TEXT, ids=_name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for link in _LINK.finditer(page.read_text()):
        if link["path"]:
            assert (page.parent / link["path"]).exists(), f"{_name(page)}: {link[0]}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_snippet_is_of_a_file_that_is_there(page: Path) -> None:
    for snippet in _SNIPPET.finditer(page.read_text()):
        assert (ROOT / snippet["path"]).is_file(), snippet[0]


def test_each_strategy_shows_all_of_its_example() -> None:
    for page in (ROOT / "docs" / "strategies").glob("[0-9]-*.md"):
        shown = {Path(path) for path in _SNIPPET.findall(page.read_text())}
        (folder,) = {path.parent for path in shown}
        assert folder.name.startswith(f"strategy_{page.name[0]}_")
        files = {each.relative_to(ROOT) for each in (ROOT / folder).iterdir() if each.is_file()}
        code = {each for each in files if each.suffix in {".py", ".yaml"}}
        assert {each for each in code if each.name not in {"__init__.py", "values.yaml"}} <= shown
