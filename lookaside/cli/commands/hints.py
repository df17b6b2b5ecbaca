"""Hints about a service that is unknown or has no endpoints.

The balancer is asked a second time, best effort: a hint never fails the command.
"""

import difflib
from collections import Counter
from collections.abc import Iterable

from lookaside.cli.balancer.client import Asker, Balancer
from lookaside.cli.balancer.errors import BalancerError
from lookaside.cli.balancer.messages import Explained, ServerList
from lookaside.cli.errors import NOT_FOUND
from lookaside.cli.render.output import clean

_FEW = 3
_SECONDS = 2.0


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
    reasons = Counter(each.reason for each in explained.endpoints if not each.listed)
    parts = [f"{count} {clean(reason)}" for reason, count in reasons.most_common(_FEW)]
    return "; ".join([*parts, *(clean(note).rstrip(".") for note in explained.notes)])


async def advised(balancer: Balancer, error: BalancerError, service: str) -> BalancerError:
    """Return an error with the services that may have been meant, if it is about an unknown one."""
    if error.exit_code != NOT_FOUND:
        return error
    return BalancerError(
        error.reason, error.exit_code, passing=error.passing, hint=await meant(balancer, service)
    )


async def why_absent(balancer: Balancer, service: str, asker: Asker) -> str:
    """Return what there is of a service that is not known, and what may have been meant."""
    found = ""
    try:
        await balancer.explain(service, _SECONDS, asker)
    except BalancerError as error:
        if error.exit_code == NOT_FOUND:
            found = error.reason.partition("is not known; ")[2]
    return "; ".join(filter(None, (found, await meant(balancer, service))))


async def meant(balancer: Balancer, service: str) -> str:
    """Return a hint of what may have been meant by a service that is not known."""
    try:
        known, _ = await balancer.list("", _SECONDS)
    except BalancerError:
        return did_you_mean([])
    return did_you_mean(near_misses(service, [each.service for each in known]))


async def reason(balancer: Balancer, listed: ServerList, service: str, asker: Asker) -> str:
    """Return why a list is empty; "" if it is not, or if the balancer doesn't tell."""
    if listed.state != "empty":
        return ""
    try:
        return why_empty(await balancer.explain(service, _SECONDS, asker))
    except BalancerError:
        return ""
