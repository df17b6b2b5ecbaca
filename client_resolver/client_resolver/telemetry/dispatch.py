"""Tells observers what happens, and lets none of them do harm."""

import logging
from collections.abc import Callable, Iterable
from typing import Concatenate, ParamSpec, TypeVar

from client_resolver.core.events import (
    BalancerLost,
    ConnectionChanged,
    Ejected,
    Event,
    ListChanged,
    ListConfirmed,
    Returned,
)
from client_resolver.telemetry.observer import Observer

__all__ = ["overriding", "tell", "tell_each", "tell_events"]

P = ParamSpec("P")
M = TypeVar("M", bound=Callable[..., None])

_logger = logging.getLogger("client_resolver")


def tell(
    observers: Iterable[Observer],
    what: Callable[Concatenate[Observer, P], None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> None:
    """Call one method of each observer: `tell(observers, Observer.returned, target, backend)`."""
    name = what.__name__
    for observer in observers:
        try:
            getattr(observer, name)(*args, **kwargs)
        except Exception:
            _logger.exception("observer %r: %s failed", observer, name)


def overriding(observers: Iterable[Observer], what: M) -> tuple[M, ...]:
    """Return the method of each observer that overrides it.

    Args:
        observers: The observers.
        what: The method, as `Observer` has it.
    """
    name = what.__name__
    return tuple(
        getattr(one, name) for one in observers if getattr(type(one), name, None) is not what
    )


def tell_each(methods: Iterable[Callable[..., None]], *args: object) -> None:
    """Call each, and log what it raises: methods that `overriding` returned, or a call's callbacks.

    An RPC does so several times: it is to cost little.
    """
    for method in methods:
        try:
            method(*args)
        except Exception:
            _logger.exception("%r failed", method)


def tell_events(observers: Iterable[Observer], target: str, events: Iterable[Event]) -> None:
    """Tell what has happened to a channel.

    Args:
        observers: The receivers.
        target: The channel's target.
        events: What `Machine.events` returned.
    """
    for event in events:
        match event:
            case ConnectionChanged(address, before, after):
                tell(observers, Observer.connection_changed, target, address, before, after)
            case Ejected(address, seconds, why):
                tell(observers, Observer.ejected, target, address, seconds, why)
            case Returned(address):
                tell(observers, Observer.returned, target, address)
            case ListChanged(revision, backends):
                tell(observers, Observer.list_changed, target, revision, backends)
            case ListConfirmed():
                tell(observers, Observer.list_confirmed, target)
            case BalancerLost(text):
                tell(observers, Observer.balancer_lost, target, text)
