"""What the examples' READMEs name is there."""

import re
from pathlib import Path

import pytest

from tests.examples.documents import EXAMPLES, label

ROOT = EXAMPLES.parent
READMES = sorted(EXAMPLES.rglob("README.md"))


def test_every_example_has_a_readme_and_the_first_names_it() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert {path.parent.name for path in READMES} - {"examples"} == folders
    assert (
        set(re.findall(r"^\| \[(\w+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
        == folders
    )


@pytest.mark.parametrize("path", READMES, ids=label)
def test_what_a_readme_names_is_there(path: Path) -> None:
    text = path.read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (path.parent / link).exists(), link
    for name in re.findall(r"\b(?:examples|helm)/[\w./-]+", text):
        assert (ROOT / name).exists(), name
    for module in re.findall(r"python -m (examples\.[\w.]+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module
