"""Asking the balancer a second time, for what helps: best effort, and never an error of its own."""

from lookaside.cli.advice import did_you_mean, near_misses, why_empty
from lookaside.cli.answers import ServerList
from lookaside.cli.client import Asker, Balancer
from lookaside.cli.failures import NOT_FOUND
from lookaside.cli.refusals import BalancerError

_SECONDS = 2.0


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
