"""The code blocks of the pages, and the commands in them.

A block of `sh` holds what readers type, nothing else; what they see then is a block of `text`.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = [
    ROOT / "README.md",
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]
"""What readers read, but for the client package's own page."""

_OPENING: Final = re.compile(r"^(?P<indent> *)```\s*(?P<language>[\w-]*)(?P<info>.*)$")
_ENDINGS: Final = frozenset({"&", "|", ">", "&&", ";"})


@dataclass(frozen=True, slots=True)
class Fence:
    """A code block.

    Attributes:
        page: The page.
        line: The number of its first line.
        language: What it says that it is, as in `sh`; "" for nothing.
        info: What else stands beside the language.
        text: Its content, less the indentation of its fence.
    """

    page: Path
    line: int
    language: str
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a reader types.

    Attributes:
        place: Page and line of its block.
        text: The whole line.
        words: Its words, up to a pipe or the like.
    """

    place: str
    text: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """What is run."""
        return self.words[0]

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def fences(page: Path) -> list[Fence]:
    """Return the code blocks of a page.

    Raises:
        ValueError: A block has no end.
    """
    return list(_fences(page))


def commands(fence: Fence) -> list[Command]:
    """Return the commands of a block, one a line, lines that end in a backslash joined."""
    found = []
    for line in fence.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            own = tuple(takewhile(lambda word: word not in _ENDINGS, words))
            found.append(Command(str(fence), line.strip(), own))
    return found


def commands_of(page: Path) -> list[Command]:
    """Return what a reader of a page types, in order."""
    typed = [fence for fence in fences(page) if fence.language == "sh"]
    return [command for fence in typed for command in commands(fence)]


def _fences(page: Path) -> Iterator[Fence]:
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        opening = _OPENING.match(line)
        if opening is None:
            continue
        indent = opening["indent"]
        body: list[str] = []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            body.append(inner.removeprefix(indent) + "\n")
        else:
            raise ValueError(f"{page}:{number}: the block has no end")
        yield Fence(page, number + 1, opening["language"], opening["info"].strip(), "".join(body))
