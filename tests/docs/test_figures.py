"""The figures on the pages are those that were measured."""

import re
from typing import Final

from tests.docs.fences import DOCS, ROOT

_MEASURED: Final = (ROOT / "benchmarks" / "README.md").read_text()
_SECTION: Final = re.compile(r"^## Sizing\n(?P<text>.*?)^## ", re.MULTILINE | re.DOTALL)


def test_each_figure_of_sizing_is_in_the_benchmarks() -> None:
    section = _SECTION.search((DOCS / "operations.md").read_text())
    assert section is not None
    rows = re.findall(r"^\|[^|]+\| (.*[0-9].*) \|$", section["text"], re.MULTILINE)
    assert len(rows) == 9
    for figure in re.findall(r"[0-9.]+", " ".join(rows)):
        assert re.search(rf"(?<![0-9.]){re.escape(figure)}(?![0-9.])", _MEASURED), figure


def test_each_figure_of_what_lookaside_does_worse_is_in_the_benchmarks() -> None:
    text = (DOCS / "comparison.md").read_text().partition("## What Lookaside does worse")[2]
    figures = re.findall(r"[0-9]+(?: [0-9]{3})*(?= MiB| slices)", text.replace("\n", " "))
    assert figures == ["79", "22", "15 000"]
    for figure in figures:
        assert re.search(rf"\b{figure}\b", _MEASURED), figure
