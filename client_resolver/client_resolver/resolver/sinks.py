"""What stands between a channel's state machine and those who bring it lists."""

from dataclasses import replace
from typing import Protocol

from client_resolver.core.delta import Delta
from client_resolver.core.model import Revision, ServerList
from client_resolver.core.watch import Flow, Lost, is_firm
from client_resolver.telemetry.log import Notices

__all__ = ["FallbackAnswers", "Keeping", "LookAnswers", "StandingIn", "Tap"]


class Keeping(Protocol):
    """Who writes lists to disk."""

    def keep(self, current: ServerList | None) -> None:
        """Take in the list that holds."""


class StandingIn(Protocol):
    """Who runs the fallback."""

    def wanted(self) -> None:
        """Take in that the balancer can't be reached, or knows of nothing."""

    def over(self) -> None:
        """Take in that there is a list that needs no fallback."""


class Tap:
    """A flow that also tells of the list that holds, and of a watch that was lost.

    Args:
        flow: The flow itself.
        keeper: Is told of every list.
        stand_in: Is told of the first list, of one that is of no use, and of losses once every
            balancer has been asked.
    """

    def __init__(self, flow: Flow, keeper: Keeping | None, stand_in: StandingIn | None) -> None:
        self._flow = flow
        self._keeper = keeper
        self._stand_in = stand_in

    def begun(self) -> Revision | None:
        """See `Flow`."""
        return self._flow.begun()

    def received(self, message: ServerList | Delta) -> ServerList | None:
        """See `Flow`."""
        current = self._flow.received(message)
        if self._keeper is not None:
            self._keeper.keep(current)
        if self._stand_in is not None and current is not None:
            if is_firm(current):
                self._stand_in.over()
            elif not current.provisional:
                # A balancer that has lost its source and knows of nothing.
                self._stand_in.wanted()
        return current

    def lost(self, code: str, details: str, *, misread: bool = False) -> Lost:
        """See `Flow`."""
        lost = self._flow.lost(code, details, misread=misread)
        if self._stand_in is not None and lost.all_asked:
            self._stand_in.wanted()
        return lost

    def fallback_failed(self, why: str) -> None:
        """See `Flow`."""
        self._flow.fallback_failed(why)


class LookAnswers:
    """Takes what a polled resolver finds to a flow.

    Args:
        target: The channel's target, for the log.
        flow: The flow.
    """

    def __init__(self, target: str, flow: Flow) -> None:
        self._flow = flow
        self._notices = Notices(target)

    def found(self, answer: ServerList) -> None:
        """Take in an answer."""
        self._notices.set_aside(answer)
        self._flow.received(answer)

    def failed(self, why: str) -> None:
        """Take in that there was none."""
        self._notices.lost(self._flow.lost("UNAVAILABLE", why))


class FallbackAnswers:
    """Takes what a fallback finds to a flow, as a list that any other replaces.

    Args:
        target: The channel's target, for the log.
        fallback: The fallback's target, for the log.
        flow: The flow.
    """

    def __init__(self, target: str, fallback: str, flow: Flow) -> None:
        self._fallback = fallback
        self._flow = flow
        self._notices = Notices(target)
        self._told = ""

    def found(self, answer: ServerList) -> None:
        """Take in an answer."""
        self._notices.set_aside(answer)
        self._tell(f"is used until a balancer gives a list: {len(answer.endpoints)} backends")
        self._flow.received(replace(answer, provisional=True))

    def failed(self, why: str) -> None:
        """Take in that there was none."""
        self._tell(f"can't be used: {why}")
        self._flow.fallback_failed(why)

    def _tell(self, what: str) -> None:
        if what != self._told:
            self._told = what
            self._notices.fallback(self._fallback, what)
