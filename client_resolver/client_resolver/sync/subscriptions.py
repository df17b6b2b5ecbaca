"""Receivers of a channel's state: connectivity callbacks, and observers of its events."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

import grpc

from client_resolver.config.settings import Settings
from client_resolver.core.events import Event
from client_resolver.sync.wakeups import Wakeup
from client_resolver.telemetry.dispatch import tell_events

__all__ = ["Listener", "Subscriptions"]

_logger = logging.getLogger("client_resolver")

T = TypeVar("T")

Listener = Callable[[grpc.ChannelConnectivity], None]


class Subscriptions:
    """Keeps the listeners, and what they have not received yet.

    There is no lock. `listen` and `unlisten` may be called on any thread at any time. The owner
    serialises `happened`. It calls `note` and `tell` on one thread, while it holds nothing: what
    `tell` calls is the application's.

    Args:
        settings: Have the observers.
        work: Wakes the thread that calls `tell`.
    """

    def __init__(self, settings: Settings, work: Wakeup) -> None:
        self._work = work
        self._observers = settings.observers
        self._target = settings.target.text
        self._listeners: list[_Listening] = []
        self._events: deque[Event] = deque()
        self._news: deque[tuple[Listener, str]] = deque()

    def __bool__(self) -> bool:
        """Whether anybody listens to the connectivity."""
        return bool(self._listeners)

    def listen(self, listener: Listener) -> None:
        """Tell a listener the state of the channel now and whenever it changes."""
        self._listeners.append(_Listening(listener))
        self._work.set()

    def unlisten(self, listener: Listener) -> None:
        """Undo `listen`."""
        for one in list(self._listeners):
            if one.listener == listener:
                # It may have gone meanwhile: another thread or a handler has done the same.
                with suppress(ValueError):
                    self._listeners.remove(one)
                return

    def clear(self) -> None:
        """Forget all listeners."""
        self._listeners.clear()
        self._news.clear()

    def happened(self, events: Iterable[Event]) -> None:
        """Keep events for `tell`."""
        self._events.extend(events)

    def note(self, state: str) -> None:
        """The channel's state changed: the name of a `grpc.ChannelConnectivity`."""
        for one in list(self._listeners):
            if one.told != state:
                one.told = state
                self._news.append((one.listener, state))

    def tell(self) -> None:
        """Deliver what has not been delivered."""
        if self._events:
            tell_events(self._observers, self._target, _taken(self._events))
        for listener, state in _taken(self._news):
            try:
                listener(grpc.ChannelConnectivity[state])
            except Exception:
                _logger.exception("a connectivity callback failed")


class _Listening:
    """A listener, and the state that it received last."""

    __slots__ = ("listener", "told")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.told = ""


def _taken(queue: "deque[T]") -> Iterator[T]:
    """Take one after another: others add to it meanwhile."""
    while queue:
        yield queue.popleft()
