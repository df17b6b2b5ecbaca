"""Tables and documents of the answers."""

import json
import sys
from collections.abc import Sequence

import yaml

from lookaside.cli.balancer.messages import Document, Server, ServerList, Summary


def document(value: Document, form: str) -> str:
    """Return a message in its JSON form, as JSON or YAML."""
    if form == "yaml":
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip()
    return json.dumps(value, indent=2, ensure_ascii=False)


def servers(listed: ServerList, *, wide: bool, aligned: bool) -> str:
    """Return the table of a list's backends."""
    head = ["ADDRESS", "WEIGHT", "HEALTH", "ZONE"]
    rows = [[s.address, str(s.weight), s.health, s.zone] for s in listed.servers]
    if wide:
        head += ["NODE", "METADATA"]
        for row, server in zip(rows, listed.servers, strict=True):
            row += [server.node, pairs(server)]
    return table(head, rows, aligned=aligned)


def summaries(found: Sequence[Summary], *, wide: bool, aligned: bool) -> str:
    """Return the table of services."""
    head = ["SERVICE", "STATE", "SERVERS", "SOURCE"]
    rows = [[s.service, _state(s), str(s.servers), s.source] for s in found]
    if wide:
        head += ["DIGEST", "VERSION"]
        for row, each in zip(rows, found, strict=True):
            row += [each.digest, str(each.version or "")]
    return table(head, rows, aligned=aligned)


def _state(summary: Summary) -> str:
    return f"alias of {summary.external_name}" if summary.external_name else summary.state


def pairs(server: Server) -> str:
    """Return the metadata of a backend in one line."""
    return ",".join(f"{key}={value}" for key, value in server.metadata)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, aligned: bool) -> str:
    """Return a table: in columns for people, with tabs for programs."""
    lines = [[clean(cell) or "-" for cell in row] for row in (head, *rows)]
    if not aligned:
        return "\n".join("\t".join(line) for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def on_terminal() -> bool:
    """Whether people read what is printed."""
    # There is none where it is closed.
    return sys.stdout is not None and sys.stdout.isatty()


def clean(text: str) -> str:
    """Return a text from a cluster without what a terminal may take for a command, or a tab."""
    return "".join(each if each.isprintable() else "?" for each in text)
