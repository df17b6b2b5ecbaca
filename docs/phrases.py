"""Find phrases that readers stumble over, and name a plainer form of each.

Documentation, docstrings, comments, texts in string literals, chart values and protos are read.
Text that is quoted as code, between backticks or in a fence, is not. ``python -m docs.phrases``
prints each find as ``file:line``; the exit code is 1 if there is one.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent

BE: Final = "(?:is|are|was|were|be|been|being)"
PHRASES: Final = {
    r"(?:take|takes|taking|took|taken) in": "say what happened; accept, record",
    rf"{BE} told(?! from| apart| to)": "receives, is notified of; say, list",
    r"(?:go|goes|going|went|gone) by": "use, follow",
    r"anew": "again",
    r"of which": "whose, or two sentences",
    r"it is for .{1,40}? to": "name who does it",
    r"by way of": "through, by",
    r"(?:un)?heed(?:s|ed|ing)?": "use, have an effect",
    r"away with": "remove",
    r"fares?": "say what happens",
    r"news": "updates",
    r"from the centre": "central",
    r"(?:stand|stands|stood|standing) (?:first|last|in|on|at|there|here|beside|where)": "is",
    rf"{BE} put on": "is sent to",
    r"(?:take|takes|took|taken) up": "process, accept",
    r"so many": "the given number of",
    r"whoever": "anyone who, the one that",
    r"(?-i:Whom)": "who, or name the receiver",
    r"to be had": "available",
    r"of (?:no )?effect": "has an effect, has no effect",
    r"as ever": "as before",
    r"in(?:to)? the place of": "instead of",
    r"the very": "the same",
    r"in good order": "normally",
    r"chance": "at random, a random number",
    rf"{BE} held against": "is checked against",
    r"lets? go of": "release",
    r"without a word": "without notice",
    r"takes the right": "requires the right",
    r"pass(?:ed|es)? over": "ignore",
    r", beside": "in addition to",
    rf"{BE} no (?:text|number|pair|path)": "say what is expected and what was given",
    r"(?:two|second|more) looks?": "lookup, check",
    r"of no matter": "does not matter",
    r"for ever": "forever, without end",
    r"says? otherwise": "set another one",
    r"unasked": "without a policy",
}
"""Regular expressions of phrases, and what to write instead."""

_FOLDERS: Final = (
    "docs", "lookaside", "client_resolver", "helm", "examples", "benchmarks", "protos",
)  # fmt: skip
_SUFFIXES: Final = (".md", ".py", ".yaml", ".yml", ".tpl", ".txt", ".proto")
_SKIPPED: Final = frozenset({"_pb", "__pycache__", "results", "requirements"})
_ITSELF: Final = Path(__file__).resolve()

_FENCE: Final = re.compile(r"^ *(?P<mark>```|~~~).*?^ *(?P=mark)", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"``[^`]+``|`[^`\n]+`")
_QUOTES: Final = re.compile(r"^\w*(?:\"\"\"|'''|\"|')|(?:\"\"\"|'''|\"|')$")
_MARKS: Final = re.compile(r"^\s*(?:#+|//+|[*>-] )", re.MULTILINE)
# A phrase may go on in the next line, but not in the next paragraph.
_GAP: Final = r"(?:[^\S\n]+\n?|\n)[^\S\n]*"
_ANY: Final = re.compile(
    "|".join(
        rf"(?P<p{number}>\b(?:{phrase.replace(' ', _GAP)})\b)"
        for number, phrase in enumerate(PHRASES)
    ),
    re.IGNORECASE,
)


class Find(NamedTuple):
    """A phrase in a text.

    Attributes:
        line: The number of its line, from 1.
        phrase: What the text has.
        advice: What to write instead.
    """

    line: int
    phrase: str
    advice: str


def finds(text: str, suffix: str) -> Iterator[Find]:
    """Yield the phrases in a file's text.

    Args:
        text: The file.
        suffix: How its name ends, such as ``.py``: it says what of it is prose.
    """
    prose = _prose_of_python(text) if suffix == ".py" else _MARKS.sub(_blank, text)
    if suffix == ".md":
        prose = _FENCE.sub(_blank, prose)
    prose = _CODE.sub(_blank, prose)
    advice = tuple(PHRASES.values())
    for match in _ANY.finditer(prose):
        number = int((match.lastgroup or "p0").removeprefix("p"))
        line = prose.count("\n", 0, match.start()) + 1
        yield Find(line, " ".join(match[0].split()), advice[number])


def files() -> Iterator[Path]:
    """Yield the files that are read."""
    yield from sorted(ROOT.glob("*.md"))
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            parts = path.relative_to(ROOT).parts
            hidden = any(part in _SKIPPED or part.startswith(".") for part in parts)
            if path.suffix in _SUFFIXES and path.is_file() and not hidden and path != _ITSELF:
                yield path


def _prose_of_python(text: str) -> str:
    """Return the comments and literals of a module, all else blanked out but for line ends."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    prose = list(re.sub(r"[^\s]", "\0", text))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        shown = token.string
        if kind == "COMMENT":
            shown = _MARKS.sub(_blank, shown)
        elif kind == "STRING":
            shown = _QUOTES.sub(_blank, shown)
        elif kind in ("FSTRING_START", "FSTRING_END"):
            shown = " " * len(shown)
        elif kind != "FSTRING_MIDDLE":
            continue
        start = starts[token.start[0] - 1] + token.start[1]
        prose[start : start + len(shown)] = shown
    return "".join(prose)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\s]", " ", match[0])


def main(arguments: Sequence[str]) -> int:
    """Print what is found in some files, or in all; return the exit code."""
    found = 0
    for path in map(Path, arguments) if arguments else files():
        for find in finds(path.read_text(), path.suffix):
            found += 1
            shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            print(f"{shown}:{find.line}: {find.phrase!r}: {find.advice}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
