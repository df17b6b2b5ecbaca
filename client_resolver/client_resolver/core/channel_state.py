"""The published state of the channel: a picker, a failure, or a reason to wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from client_resolver.core.backend import Backend
from client_resolver.core.model import Code, Connectivity, Failure, ListState, ServerList
from client_resolver.core.picker import Picker
from client_resolver.core.pool import Pool

__all__ = ["Outlook", "describe", "survey"]

H = TypeVar("H")

_SHOWN = 5
"""Maximum number of backends that an error names."""


@dataclass(frozen=True, slots=True)
class Outlook(Generic[H]):
    """One published state of a channel.

    Attributes:
        picker: Picks among the ready backends. None: there are none.
        failure: With no picker: why an RPC fails at once unless it waits for ready. None: it waits.
        waiting: With no picker: what an RPC that waits is waiting for.
        connectivity: The state of the channel as a whole.
        idle_picker: Picks among the backends that are ready and those that would be connected if
            they were picked. None: there are none of the latter, as always where a channel is not
            lazy.
    """

    picker: Picker[Backend[H]] | None
    failure: Failure | None
    waiting: str
    connectivity: Connectivity
    idle_picker: Picker[Backend[H]] | None = None

    def overdue(self, otherwise: str) -> str:
        """Say why an RPC ends whose deadline passed while it waited.

        Args:
            otherwise: What it waited for, where it was not for a backend.
        """
        if self.failure is not None:
            return f"the deadline passed: {self.failure.details}"
        return f"the deadline passed while waiting for {self.waiting or otherwise}"


def survey(pool: Pool[H], current: ServerList | None, unlisted: Failure | None) -> Outlook[H]:
    """Work out the outlook.

    Args:
        pool: The backends.
        current: The list that holds. None: there was none yet.
        unlisted: Why there was none yet. None: the first attempt to get one is still under way.
    """
    picker, idle_picker = pool.pickers()
    if picker is not None:
        return Outlook(picker, None, "", Connectivity.READY, idle_picker)
    if current is None:
        if unlisted is None:
            return Outlook(None, None, "the first list of backends", Connectivity.CONNECTING)
        return _failed(unlisted)
    why = _why_unusable(pool, current)
    if why is not None:
        return _failed(Failure(Code.UNAVAILABLE, why))
    return _unpicked(pool, idle_picker)


def _unpicked(pool: Pool[H], idle_picker: Picker[Backend[H]] | None) -> Outlook[H]:
    """Work out the outlook where there are backends and none is to be picked yet."""
    if pool.build is not None:
        waiting = f"the first table of {pool.config.policy.name}"
        return Outlook(None, None, waiting, Connectivity.CONNECTING, idle_picker)
    connectivity = pool.connectivity()
    if connectivity is Connectivity.TRANSIENT_FAILURE:
        return _failed(
            Failure(Code.UNAVAILABLE, f"no connection to any of {describe(pool.usable)}"),
        )
    waiting = f"a connection to one of {describe(pool.usable)}"
    return Outlook(None, None, waiting, connectivity, idle_picker)


def describe(backends: Sequence[Backend[H]]) -> str:
    """Name backends and what is the matter with each, for an error's text.

    The first few are named; of the others, how many there are.
    """
    shown = ", ".join(f"{backend.address} ({_state(backend)})" for backend in backends[:_SHOWN])
    rest = len(backends) - _SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    return f"{len(backends)} backend{'s' if len(backends) != 1 else ''}: {shown}{more}"


def _state(backend: Backend[H]) -> str:
    text = backend.connectivity.value
    if backend.last_error:
        text += f": {backend.last_error}"
    if backend.ejected:
        text += ", ejected"
    if backend.draining:
        text += ", no longer listed"
    return text


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
