"""Between a channel's machine and the resolvers: where each kind of answer goes."""

from dataclasses import replace
from typing import Protocol

from client_resolver.core.delta import Delta
from client_resolver.core.model import Code, Revision, ServerList
from client_resolver.core.watch import ListSink, Lost, is_firm
from client_resolver.telemetry.log import ChannelLog

__all__ = ["FallbackControl", "FallbackSink", "ListCache", "ListTap", "PollSink"]


class ListCache(Protocol):
    """Writes lists to disk."""

    def keep(self, current: ServerList | None) -> None:
        """The current list changed."""


class FallbackControl(Protocol):
    """Runs the fallback."""

    def wanted(self) -> None:
        """The balancer can't be reached, or has no list."""

    def over(self) -> None:
        """There is a list that needs no fallback."""


class ListTap:
    """A sink that also tells of the list that holds, and of a watch that was lost.

    Args:
        sink: Where each event goes.
        cache: Receives every list.
        fallback: Receives the first list, a list that is of no use, and losses once every
            balancer has been asked.
    """

    def __init__(
        self, sink: ListSink, cache: ListCache | None, fallback: FallbackControl | None
    ) -> None:
        self._sink = sink
        self._cache = cache
        self._fallback = fallback

    def begun(self) -> Revision | None:
        """See `ListSink`."""
        return self._sink.begun()

    def received(self, message: ServerList | Delta) -> ServerList | None:
        """See `ListSink`."""
        current = self._sink.received(message)
        if self._cache is not None:
            self._cache.keep(current)
        if self._fallback is not None and current is not None:
            if is_firm(current):
                self._fallback.over()
            elif not current.provisional:
                # A balancer that has lost its source and knows of nothing.
                self._fallback.wanted()
        return current

    def lost(self, code: Code, details: str, *, misread: bool = False) -> Lost:
        """See `ListSink`."""
        lost = self._sink.lost(code, details, misread=misread)
        if self._fallback is not None and lost.all_asked:
            self._fallback.wanted()
        return lost

    def fallback_failed(self, why: str) -> None:
        """See `ListSink`."""
        self._sink.fallback_failed(why)


class PollSink:
    """Hands the answers of a polled resolver to a sink.

    Args:
        target: The channel's target, for the log.
        sink: Where they go.
    """

    def __init__(self, target: str, sink: ListSink) -> None:
        self._sink = sink
        self._log = ChannelLog(target)

    def found(self, answer: ServerList) -> None:
        """An answer came."""
        self._log.set_aside(answer)
        self._sink.received(answer)

    def failed(self, why: str) -> None:
        """There was no answer."""
        self._log.lost(self._sink.lost(Code.UNAVAILABLE, why))


class FallbackSink:
    """Hands the answers of a fallback to a sink, as lists that any other replaces.

    Args:
        target: The channel's target, for the log.
        fallback: The fallback's target, for the log.
        sink: Where they go.
    """

    def __init__(self, target: str, fallback: str, sink: ListSink) -> None:
        self._fallback = fallback
        self._sink = sink
        self._log = ChannelLog(target)
        self._told = ""

    def found(self, answer: ServerList) -> None:
        """An answer came."""
        self._log.set_aside(answer)
        self._tell(f"is used until a balancer gives a list: {len(answer.endpoints)} backends")
        self._sink.received(replace(answer, provisional=True))

    def failed(self, why: str) -> None:
        """There was no answer."""
        self._tell(f"can't be used: {why}")
        self._sink.fallback_failed(why)

    def _tell(self, what: str) -> None:
        if what != self._told:
            self._told = what
            self._log.fallback(self._fallback, what)
