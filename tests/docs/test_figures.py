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
    table = re.findall(r"^\|.*$", section["text"], re.MULTILINE)
    assert len(rows) == len(table) - 2 > 0, "a row without a figure, beside the head's two lines"
    for figure in re.findall(r"[0-9.]+", " ".join(rows)):
        assert re.search(rf"(?<![0-9.]){re.escape(figure)}(?![0-9.])", _MEASURED), figure


def test_each_figure_of_what_lookaside_does_worse_is_in_the_benchmarks() -> None:
    text = (DOCS / "comparison.md").read_text().partition("## Where Lookaside is worse")[2]
    figures = re.findall(r"[0-9]+(?: [0-9]{3})*(?= MiB| slices)", text.replace("\n", " "))
    assert figures == ["79", "22", "15 000"]
    for figure in figures:
        assert re.search(rf"\b{figure}\b", _MEASURED), figure


def test_what_an_rpc_pays_is_what_was_measured_one_at_a_time() -> None:
    page = _rows((DOCS / "comparison.md").read_text().partition("## Cost per RPC")[2])
    measured = _rows(_MEASURED.partition("| p50, of the plain channel's |")[2])
    names = {
        "grpcio's own round_robin": "C-core's round_robin",
        "Lookaside, defaults": "defaults",
        "with retries, outlier detection and metrics": "defaults, all three",
        "Envoy beside the client": "Envoy as a sidecar",
    }
    # Every second column has 16 in flight.
    assert {name: page[name] for name in names} == {
        name: measured[row][::2] for name, row in names.items()
    }


def _rows(text: str) -> dict[str, list[str]]:
    """The first rows of each name in the tables of a text."""
    rows: dict[str, list[str]] = {}
    for line in re.findall(r"^\| (.+) \|$", text, re.MULTILINE):
        name, *cells = line.split(" | ")
        rows.setdefault(name, cells)
    return rows
