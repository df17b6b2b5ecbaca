"""Phrases are found in prose, wherever it is, and in nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs import phrases
from docs.phrases import finds
from tests.docs.fences import ROOT


@pytest.mark.parametrize(
    ("suffix", "text", "line"),
    [
        (".py", '"""Take in that it ended."""\n', 1),
        (".py", 'X = 1\n"""The list is made\nanew."""\n', 3),
        (".py", "x = 1  # it goes by the weight\n", 1),
        (".py", "# it goes\n# by the weight\n", 1),
        (".py", 'raise ValueError("a list of "\n    "which nothing is known")\n', 1),
        (".py", 'x = f"{key}: it is made anew"\n', 1),
        (".md", "# Title\n\nIt is made anew.\n", 3),
        (".md", "- It is made\n  anew, of\n  which more.\n", 2),
        (".yaml", "# Labels of which\na: 1\n", 1),
        (".txt", "It is for the user\nto decide.\n", 1),
        (".proto", "// So many\n// endpoints.\n", 1),
    ],
)
def test_a_phrase_is_found_with_its_line(suffix: str, text: str, line: int) -> None:
    assert line in [find.line for find in finds(text, suffix)]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".py", "anew = take + in_\n"),
        (".py", 'x = ["go", "by"]\ny = {"go": by}\n'),
        (".py", '"""The method `anew` and ``of which``."""\n'),
        (".md", "```text\nmade anew\n```\n"),
        (".md", "It goes.\n\nBy then it has ended.\n"),
        (".md", "renewal, newspaper, of whichever\n"),
    ],
)
def test_code_other_words_and_paragraphs_apart_are_no_phrases(suffix: str, text: str) -> None:
    assert list(finds(text, suffix)) == []


def test_each_find_names_what_to_write_instead() -> None:
    [find] = finds("made anew", ".md")

    assert find == (1, "anew", "again")


def test_documentation_packages_and_chart_are_read_and_generated_code_is_not() -> None:
    read = {str(path.relative_to(ROOT)) for path in phrases.files()}

    assert {
        "README.md",
        "docs/operations.md",
        "lookaside/config/settings.py",
        "client_resolver/README.md",
        "client_resolver/client_resolver/core/machine.py",
        "helm/lookaside/values.yaml",
        "helm/lookaside/templates/NOTES.txt",
        "protos/lookaside/lookaside.proto",
    } <= read
    assert not any("_pb/" in path or "/." in path for path in read)


@pytest.mark.parametrize(("text", "code"), [("made anew", 1), ("made again", 0)])
def test_the_exit_code_says_whether_there_is_one(tmp_path: Path, text: str, code: int) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{text}\n")
    done = subprocess.run(
        [sys.executable, "-m", "docs.phrases", page],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    assert ("page.md:1: 'anew': again" in done.stdout) == bool(code)
