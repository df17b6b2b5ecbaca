"""Figures as a table."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

from benchmarks.informer.subject import Figures

_COLUMNS: Final[Mapping[str, tuple[Callable[[Figures], float], str]]] = {
    "sync s": (lambda one: one.sync, ".2f"),
    "sync CPU s": (lambda one: one.sync_cpu, ".2f"),
    "server CPU s": (lambda one: one.server_cpu, ".2f"),
    "event CPU us": (lambda one: one.event_cpu, ".0f"),
    "peak MiB": (lambda one: one.peak, ".0f"),
    "kept MiB": (lambda one: one.kept, ".0f"),
    "trimmed MiB": (lambda one: one.trimmed, ".0f"),
    "base MiB": (lambda one: one.base, ".0f"),
    "start s": (lambda one: one.start, ".2f"),
}


def table(size: int, figures: Mapping[str, Sequence[Figures]]) -> str:
    """Give a table: for each subject a row of medians, each with the least and the most.

    Args:
        size: How many slices there were.
        figures: What was measured, by subject; as many rounds for each.
    """
    rounds = min(map(len, figures.values()))
    rows = [["", *_COLUMNS]]
    rows += [[name, *_cells(some)] for name, some in figures.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    return "\n".join([f"{size} EndpointSlices, median of {rounds} (least-most)", *lines])


def _cells(figures: Sequence[Figures]) -> list[str]:
    cells = []
    for read, form in _COLUMNS.values():
        values = [read(one) for one in figures]
        least, middle, most = (format(f(values), form) for f in (min, median, max))
        cells.append(f"{middle} ({least}-{most})")
    return cells


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = row
    cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
    return "  ".join([first.ljust(widths[0]), *cells])
