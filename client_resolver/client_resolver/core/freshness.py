"""Since when a list of backends is no longer known to be current."""

__all__ = ["QUIET", "Freshness"]

QUIET = 6.0
"""Seconds after which a watch that named the list as known and has received nothing counts as
working: longer than a connection is given to come about."""


class Freshness:
    """Follows what is heard of a list's source.

    The list of a watch is current from a message on, until the watch is lost. A source that is
    polled is heard of at each answer: when one fails, the list was last current at the one before.
    """

    __slots__ = ("_asked", "_heard", "_since", "_watched")

    def __init__(self) -> None:
        self._heard: float | None = None
        self._since: float | None = None
        self._asked: float | None = None
        self._watched = False

    def begun(self, now: float, *, known: bool) -> None:
        """A watch starts.

        Args:
            now: The time on the monotonic clock, in seconds.
            known: It names the list that is held, so that silence means consent.
        """
        self._watched = True
        self._asked = now if known else None

    def heard(self, now: float, *, current: bool) -> None:
        """An answer came; `current` says whether the list held is current by it."""
        self._asked = None
        if current:
            self._since = None
        elif self._since is None:
            self._since = now if self._heard is None or self._watched else self._heard
        self._heard = now

    def lost(self, now: float, *, reached: bool) -> None:
        """The watch ended or an answer failed.

        Args:
            now: The time on the monotonic clock, in seconds.
            reached: The source was there until now.
        """
        if self._heard is None:
            return
        if reached and self._consents(now):
            self._since = None
        self._asked = None
        if self._since is None:
            self._since = now if self._watched else self._heard

    def age(self, now: float) -> float | None:
        """Return for how many seconds nobody has vouched for the list. None: there is none."""
        if self._heard is None:
            return None
        if self._since is None or self._consents(now):
            return 0.0
        return now - self._since

    def _consents(self, now: float) -> bool:
        return self._asked is not None and now - self._asked >= QUIET
