"""The status page: its data and its HTML."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_SERVICES = 1000


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source.

    Attributes:
        name: Its name.
        state: ``syncing``, ``synced``, ``failing`` or ``stale``, say.
        services: How many services it has.
        endpoints: How many endpoints they have.
        version: The version up to which its view holds; 0 if it has no order.
        trouble: Why its view can't be confirmed now; "" if it can.
    """

    name: str
    state: str
    services: int
    endpoints: int
    version: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One port of one service.

    Attributes:
        name: Its name in full.
        source: The source that it is from.
        state: What its list means, in a word.
        endpoints: How many endpoints it has.
    """

    name: str
    source: str
    state: str
    endpoints: int


@dataclass(frozen=True, slots=True)
class Status:
    """All that the page shows.

    Attributes:
        version: The version of the service.
        uptime: Seconds since its start.
        watchers: How many watches are open.
        sources: The sources, in their order.
        services: The first `MOST_SERVICES` ports of services, in their order.
        ports: How many there are in all.
    """

    version: str
    uptime: float
    watchers: int
    sources: Sequence[SourceStatus]
    services: Sequence[ServiceStatus]
    ports: int


def render(status: Status, not_ready: Sequence[str]) -> str:
    """Return the text of the status page.

    Args:
        status: What to show.
        not_ready: Why the service is not ready; empty if it is.
    """
    lines = [
        f"lookaside {status.version}",
        "",
        f"ready     {'no: ' + '; '.join(not_ready) if not_ready else 'yes'}",
        f"uptime    {int(status.uptime)} s",
        f"watchers  {status.watchers}",
        "",
        *_table(
            ("SOURCE", "STATE", "SERVICES", "ENDPOINTS", "VERSION", "ERROR"),
            (
                (s.name, s.state, s.services, s.endpoints, s.version or "-", s.trouble or "-")
                for s in status.sources
            ),
        ),
        "",
        *_table(
            ("SERVICE", "STATE", "ENDPOINTS", "SOURCE"),
            ((s.name, s.state, s.endpoints, s.source) for s in status.services),
        ),
    ]
    if status.ports > len(status.services):
        lines.append(f"and {status.ports - len(status.services)} more")
    lines += ["", "see also  /metrics  /livez  /readyz"]
    return "\n".join(lines) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    cells = [head, *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
