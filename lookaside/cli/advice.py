"""What more can be said of a service that is unknown, or has no endpoints. No I/O."""

import difflib
from collections import Counter
from collections.abc import Iterable

from lookaside.cli.answers import Explained
from lookaside.cli.output import clean

_FEW = 3


def near_misses(asked: str, known: Iterable[str]) -> list[str]:
    """Return the known services whose names are most like the one that was asked for.

    Those of the namespace that was asked for come before others of the same name.

    Args:
        asked: The name as the user wrote it.
        known: The services in full, with their ports.
    """
    name, _, namespace = asked.partition(":")[0].partition(".")
    namespace = namespace.partition(".")[0]
    services = dict.fromkeys(each.partition(":")[0] for each in known)
    alike: dict[str, list[str]] = {}
    for service in services:
        alike.setdefault(service.partition(".")[0], []).append(service)
    found = []
    for label in difflib.get_close_matches(name, alike, n=_FEW):
        found += sorted(alike[label], key=lambda each: not each.endswith(f".{namespace}"))
    return found[:_FEW]


def did_you_mean(names: list[str]) -> str:
    """Return the question whether one of some names was meant, or what lists all names."""
    if not names:
        return "lookaside list shows those that are"
    *others, last = [clean(name) for name in names]
    before = f"{', '.join(others)} or " if others else ""
    return f"did you mean {before}{last}?"


def why_empty(explained: Explained) -> str:
    """Return why a list is empty: what its endpoints are left out for, and what else is said."""
    reasons = Counter(each.reason for each in explained.verdicts if not each.listed)
    parts = [f"{count} {clean(reason)}" for reason, count in reasons.most_common(_FEW)]
    return "; ".join([*parts, *(clean(note).rstrip(".") for note in explained.notes)])
