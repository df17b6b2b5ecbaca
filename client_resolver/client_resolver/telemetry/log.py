"""The log of a channel: records that name the target."""

import logging
from typing import Any

from client_resolver.core.backend import Backend
from client_resolver.core.delta import Delta
from client_resolver.core.model import ServerList, SetAside
from client_resolver.core.watch import Lost

__all__ = ["ChannelLog", "reason", "undialled", "unusable"]

_TOLD = 20
"""Maximum number of servers of one list that get a warning each."""
_SHOWN = 500
"""Maximum number of characters of a foreign text in a record."""

_logger = logging.getLogger("client_resolver")


class ChannelLog:
    """Tells each thing once: a resolver that is polled says the same again and again.

    Args:
        target: The channel's target, which every record begins with.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._set_aside: frozenset[SetAside] = frozenset()

    def set_aside(self, message: ServerList | Delta) -> None:
        """Warn of the servers that a message has and that can't be used."""
        listed = message.changed if isinstance(message, Delta) else message
        fresh = [one for one in listed.set_aside if one not in self._set_aside]
        for one in fresh[:_TOLD]:
            _logger.warning("%s: set aside: %s", self._target, _shortened(one.reason))
        if len(fresh) > _TOLD:
            more = len(fresh) - _TOLD
            _logger.warning("%s: set aside: %d more servers of the list", self._target, more)
        self._set_aside = frozenset(listed.set_aside)

    def lost(self, lost: Lost) -> None:
        """Tell what has ended, as a warning where it wasn't to be expected."""
        level = logging.DEBUG if lost.expected else logging.WARNING
        _logger.log(level, "%s: %s", self._target, lost.text)

    def fallback(self, fallback: str, what: str) -> None:
        """Warn that the fallback is used, or why it can't be."""
        _logger.warning("%s: the fallback %s %s", self._target, fallback, what)


def undialled(target: str, backend: Backend[Any], error: Exception) -> None:
    """Keep why a backend can't be dialled, and warn of it once: it is tried again and again.

    Args:
        target: The channel's target.
        backend: The backend.
        error: What the application's `dial` has raised.
    """
    why = f"dial failed: {reason(error)}"
    if why != backend.last_error:
        backend.last_error = why
        _logger.warning("%s: %s: %s", target, backend.address, why, exc_info=error)


def reportless(target: str, backend: Backend[Any]) -> None:
    """Warn that a backend can't report its load out of band, so that it counts as an average one.

    Args:
        target: The channel's target.
        backend: The backend.
    """
    what = "no load reports: it doesn't serve xds.service.orca.v3.OpenRcaService, for which"
    text = f"{backend.address} gives {what} oobReportingPeriod asks. Others are not logged"
    _logger.warning("%s: %s", target, text)


def reason(error: Exception) -> str:
    """Why something failed, in words."""
    text = _shortened(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def unusable(error: Exception) -> str:
    """Why a watch is ended over what its balancer has sent."""
    return f"its message can't be used: {reason(error)}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
