"""What CONTRIBUTING.md and SECURITY.md name is there, and each worked list is whole."""

import re
from typing import Final

import pytest

from tests.docs.fences import DOCS, ROOT

_GUIDE: Final = (ROOT / "CONTRIBUTING.md").read_text()
_PATH: Final = re.compile(r"`([\w.-]+(?:/[\w.*-]*)+|[A-Z]\w+\.(?:md|toml))`")
_LISTS: Final = dict(re.findall(r"^## (How to add .*)\n((?:(?!^## ).*\n)*)", _GUIDE, re.MULTILINE))


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_path_that_is_named_is_there(name: str) -> None:
    paths = _PATH.findall((ROOT / name).read_text())

    assert paths
    for path in paths:
        assert (ROOT / path).exists(), f"{name}: {path}"


@pytest.mark.parametrize("title", _LISTS)
def test_each_worked_list_names_code_tests_and_documentation(title: str) -> None:
    paths = _PATH.findall(_LISTS[title])

    assert any(
        path.startswith(("lookaside/", "client_resolver/client_resolver/")) for path in paths
    )
    assert any(path.startswith("tests/") for path in paths)
    assert any(path.endswith(".md") for path in paths)


def test_the_example_of_each_list_is_in_the_files_that_it_names() -> None:
    for title, text in _LISTS.items():
        [example] = re.findall(r"^The example is (?:`(\w+)`|the (\w+) source)", text, re.MULTILINE)
        name = "".join(example).lower()
        for path in re.findall(r"^\d+\. `([^`]+(?<!\.md))`: ", text, re.MULTILINE):
            assert name in f"{(ROOT / path).read_text()} {path}".lower(), f"{title}: {path}"


def test_each_make_target_that_is_named_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z-]+)", _GUIDE)) <= targets


def test_every_decision_is_dated_listed_and_says_what_was_rejected() -> None:
    index = (DOCS / "decisions" / "index.md").read_text()
    for page in (DOCS / "decisions").glob("*.md"):
        if page.name == "index.md":
            continue
        text = page.read_text()
        [date] = re.findall(r"^\*(\d{4}-\d\d-\d\d)", text, re.MULTILINE)
        assert f"| {date} | [" in index
        assert f"]({page.name}) |" in index, page.name
        for part in ("**Decision.**", "**Why.**", "**Rejected.**", "**Cost.**"):
            assert part in text, f"{page.name}: {part}"
