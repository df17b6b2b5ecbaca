"""What the next RPC meets: a picker, a failure, or a reason to wait."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from client_resolver.core.backends import Backend, Pool
from client_resolver.core.model import Code, Connectivity, Failure, ListState, ServerList
from client_resolver.core.picker import Picker

__all__ = ["Outlook", "survey"]

H = TypeVar("H")

_SHOWN = 5
"""How many backends an error names one by one."""


@dataclass(frozen=True, slots=True)
class Outlook(Generic[H]):
    """One published state of a channel.

    Attributes:
        picker: Picks among the ready backends. None: there are none.
        failure: With no picker: why an RPC fails at once unless it waits for ready. None: it waits.
        waiting: With no picker: what an RPC that waits is waiting for.
        connectivity: The state of the channel as a whole.
    """

    picker: Picker[Backend[H]] | None
    failure: Failure | None
    waiting: str
    connectivity: Connectivity


def survey(pool: Pool[H], current: ServerList | None, unlisted: Failure | None) -> Outlook[H]:
    """Work out the outlook.

    Args:
        pool: The backends.
        current: The list that holds. None: there was none yet.
        unlisted: Why there was none yet. None: the first attempt to get one is still under way.
    """
    picker = pool.picker()
    if picker is not None:
        return Outlook(picker, None, "", Connectivity.READY)
    if current is None:
        if unlisted is None:
            return Outlook(None, None, "the first list of backends", Connectivity.CONNECTING)
        return _failed(unlisted)
    why = _why_unusable(pool, current)
    if why is not None:
        return _failed(Failure(Code.UNAVAILABLE, why))
    usable = pool.usable
    if pool.connectivity() is Connectivity.TRANSIENT_FAILURE:
        return _failed(
            Failure(Code.UNAVAILABLE, f"no connection to any of {_describe(usable)}"),
        )
    waiting = f"a connection to one of {_describe(usable)}"
    return Outlook(None, None, waiting, Connectivity.CONNECTING)


def _failed(failure: Failure) -> Outlook[H]:
    return Outlook(None, failure, failure.details, Connectivity.TRANSIENT_FAILURE)


def _why_unusable(pool: Pool[H], current: ServerList) -> str | None:
    if pool.usable:
        return None
    if current.state is ListState.ABSENT:
        return "the balancer says that there is no such service"
    if pool.listed:
        return f"every one of the {pool.listed} backends in the list has weight 0"
    if current.set_aside:
        reasons = "; ".join(one.reason for one in current.set_aside[:_SHOWN])
        return f"no server of the list can be used: {reasons}"
    if current.state is ListState.EMPTY:
        return "the balancer says that the service exists and has no backends"
    return "the list has no backends"


def _describe(backends: list[Backend[H]]) -> str:
    shown = ", ".join(
        f"{b.address} ({b.connectivity.value}{': ' + b.last_error if b.last_error else ''})"
        for b in backends[:_SHOWN]
    )
    rest = len(backends) - _SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    return f"{len(backends)} backend{'s' if len(backends) != 1 else ''}: {shown}{more}"
