"""The channel's watch: which list holds, when to reconnect, what is known of the balancer."""

from dataclasses import dataclass, replace
from typing import Protocol, TypeGuard

from client_resolver.core.backoff import FullJitter
from client_resolver.core.delta import Delta, UnknownBase
from client_resolver.core.model import Code, Failure, ListState, Revision, ServerList

__all__ = [
    "FALLBACK_AFTER",
    "FIRST_MESSAGE",
    "ListSink",
    "Lost",
    "Watch",
    "is_firm",
    "is_unreached",
]

FALLBACK_AFTER = 5.0
"""Seconds that a balancer has to give its first list before the fallback is used. It is used at
once when the watch fails; this is for one that is dialled in vain or that hangs: longer than a
connection over a bad network takes, and short beside the deadlines of the RPCs that wait."""

FIRST_MESSAGE = 5.0
"""Seconds that one of several balancers has to connect and say something to a client that holds
no list, before another is asked. A balancer answers such a watch at once or ends it."""

_REFUSALS = frozenset(
    {
        Code.FAILED_PRECONDITION,
        Code.INVALID_ARGUMENT,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.UNIMPLEMENTED,
    }
)
"""Codes of a balancer for a request that it will refuse again."""

_UNREACHED = ("failed to connect to all addresses", "DNS resolution failed")
"""Codes of C-core for a watch that never reached a balancer."""

_SETTLED = 3.0
"""Seconds after which a watch that need not say anything counts as one that works."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The next step after a watch has ended.

    Attributes:
        delay: Seconds to wait before the next attempt.
        text: What has happened, in words.
        expected: Not worth a warning: the balancer ended the watch cleanly, or the previous
            attempt failed as well.
        all_asked: Every balancer has been asked by now.
    """

    delay: float
    text: str
    expected: bool
    all_asked: bool = True


class ListSink(Protocol):
    """Where resolvers report: a `Watch` behind a shell's lock and clock."""

    def begun(self) -> Revision | None:
        """A watch starts. Return the revision to name as known."""

    def received(self, message: ServerList | Delta) -> ServerList | None:
        """A message came. Return the resulting list.

        Raises:
            UnknownBase: The watch must be started again.
        """

    def lost(self, code: Code, details: str, *, misread: bool = False) -> Lost:
        """The watch ended, or the backends could not be looked up.

        Args:
            code: The status's code.
            details: The status's text.
            misread: It was ended here, over a message that can't be used.
        """

    def fallback_failed(self, why: str) -> None:
        """The fallback could not be looked up."""


def is_firm(listed: ServerList | None) -> TypeGuard[ServerList]:
    """Whether a list is one that nothing provisional may replace.

    Not one without backends, either, of a balancer that has lost its source.
    """
    if listed is None or listed.provisional:
        return False
    return bool(listed.endpoints) or listed.state is not ListState.STALE


class Watch:
    """Decides what each event of a watch means. Holds the last known list forever.

    It takes the answers of a resolver that is polled as well, each as a list of its own. A
    provisional list is taken as long as there is no other.

    A list of the held one's epoch and of a smaller version comes from a balancer replica that lags.
    It is put off until the replica has caught up, for `hold` seconds at most; then it is taken,
    for the source itself may have gone back.

    A delta applies to the list that the same stream sent last, taken or put off, or to the one that
    the stream was begun with.

    The waits between attempts are reset after a watch that worked, however it ended: a balancer
    that ends its watches to have its clients spread is asked again almost at once.

    Where several are asked in turn, RPCs wait for the first list until each has been asked once,
    or one has refused. Where there is a fallback, they wait until that has answered or failed.

    Args:
        source: Who gives the lists, for messages: `balancer lb:50052`, `balancers a:1, b:1`.
        backoff: The waits between attempts.
        hold: How long a list that is known to be older is put off, in seconds.
        balancers: How many are asked in turn.
        fallback: There is a fallback, whose answer is received as a provisional list.
    """

    def __init__(
        self,
        source: str,
        backoff: FullJitter,
        hold: float,
        balancers: int = 1,
        *,
        fallback: bool = False,
    ) -> None:
        self._source = source
        self._backoff = backoff
        self._hold = hold
        self._balancers = balancers
        self._unasked = balancers
        self._older: ServerList | None = None
        self._older_until = 0.0
        self._failed = False
        # What the balancer sent could not be used, and no watch has lasted since: it is not to be
        # trusted with a base, nor to be asked again at once.
        self._doubted = False
        self._known: ServerList | None = None
        self._sent: ServerList | None = None
        # A source that is polled has no watches.
        self._began: float | None = None
        self._awaits_fallback = fallback
        self._fallback_failed = ""
        self._failure: Failure | None = None
        self.current: ServerList | None = None

    @property
    def listed(self) -> ServerList | None:
        """The list that RPCs use: `current`, unless a better fallback is expected."""
        if self._awaits_fallback and not is_firm(self.current):
            return None
        return self.current

    @property
    def failure(self) -> Failure | None:
        """Why there is no list. None once there is one, or while some were not asked yet."""
        failure = self._failure
        if failure is None or self._awaits_fallback:
            return None
        return replace(failure, details=failure.details + self._fallback_failed)

    @property
    def wake_at(self) -> float | None:
        """When `expire` is due. None: not at all."""
        return None if self._older is None else self._older_until

    def begun(self, now: float) -> Revision | None:
        """A watch was requested from the balancer.

        Returns:
            The revision to name as known. None: the whole list is needed.
        """
        current = self.current
        named = is_firm(current) and current.revision.digest and not self._doubted
        self._known = current if named else None
        self._sent = None
        self._began = now
        return None if self._known is None else self._known.revision

    def received(self, message: ServerList | Delta, now: float) -> bool:
        """A message of the watch came. Return whether `current` has changed.

        Raises:
            UnknownBase: It is a delta of a list that is not held: start a new watch.
        """
        if isinstance(message, Delta):
            message = self._whole(message)
            self._doubted = False
        elif message.provisional:
            return self._received_provisional(message)
        self._sent = message
        self._works(now)
        current = self.current
        if current is None:
            return self._accept(message)
        if current.provisional:
            return is_firm(message) and self._accept(message)
        if message.revision.precedes(current.revision):
            if self._older is None:
                self._older_until = now + self._hold
            self._older = message
            return False
        self._older = None
        if _same(message, current):
            # A list that still holds at a later version is ordered from there on.
            self.current = replace(current, revision=message.revision)
            return False
        return is_firm(message) and self._accept(message)

    def expire(self, now: float) -> bool:
        """Take the older list when it was put off long enough. Return whether `current` changed."""
        if self._older is None or now < self._older_until:
            return False
        message, self._older = self._older, None
        return is_firm(message) and self._accept(message)

    def undo(self, before: ServerList | None) -> None:
        """Go back to a list: the one that was taken could not be used."""
        self.current = before

    def lost(self, code: Code, details: str, now: float, *, misread: bool = False) -> Lost:
        """The watch ended or could not be started.

        Args:
            code: The status's code.
            details: The status's text.
            now: The time on the monotonic clock, in seconds.
            misread: It was ended here, over a message that can't be used.

        Returns:
            When to try again.
        """
        self._older = None
        self._unasked = max(0, self._unasked - 1)
        # Where the list named as known still held, there was nothing to say.
        heard = self._known is not None or self._sent is not None
        if heard and self._lasted(now) and not is_unreached(details):
            self._works(now)
        delay = self._backoff.next()
        expected = self._failed or self._doubted or code is Code.OK
        self._doubted = self._doubted or misread
        self._failed = True
        all_asked = self._unasked == 0
        reason = f"{code}: {details}" if details else code
        if self.current is not None:
            count = len(self.current.endpoints)
            kept = f"the {count} backends last known are kept"
            used = f"the {count} backends of the fallback are used"
            kept = used if self.current.provisional else kept
            text = f"{self._name('one')} is lost ({reason}); {kept}"
            return Lost(delay, text, expected, all_asked)
        # What a control plane answers is not to reach the application as if a backend had
        # answered it (gRFC A54).
        if code in _REFUSALS:
            text = f"{self._name('one')} refuses: {reason}"
            self._failure = Failure(Code.UNAVAILABLE, text)
        elif all_asked:
            text = f"{self._name('each')} gives no list: {reason}"
            self._failure = Failure(Code.UNAVAILABLE, text)
        else:
            text = f"{self._name('one')} gives no list: {reason}"
        return Lost(delay, text, expected, all_asked)

    def fallback_failed(self, why: str) -> None:
        """The fallback could not be looked up."""
        self._awaits_fallback = False
        self._fallback_failed = f"; the fallback can't be used: {why}"

    def _name(self, quantity: str) -> str:
        several = self._balancers > 1
        return f"{quantity} of the {self._source}" if several else self._source

    def _received_provisional(self, message: ServerList) -> bool:
        current = self.current
        if is_firm(current) or (current is not None and _same(message, current)):
            return False
        self._awaits_fallback = False
        return self._accept(message)

    def _whole(self, delta: Delta) -> ServerList:
        for base in (self._sent, self._known):
            if base is not None and base.revision.digest == delta.base != "":
                return delta.apply(base)
        self._doubted = True
        raise UnknownBase(f"a change of list {delta.base!r}, which is not held")

    def _lasted(self, now: float) -> bool:
        return self._began is not None and now - self._began >= _SETTLED

    def _works(self, now: float) -> None:
        self._failed = False
        if self._lasted(now):
            self._doubted = False
        if not self._doubted:
            self._backoff.reset()

    def _accept(self, message: ServerList) -> bool:
        self.current = message
        self._failure = None
        self._older = None
        return True


def is_unreached(details: str) -> bool:
    """Whether a watch ended with these details without ever having come to a balancer."""
    return any(text in details for text in _UNREACHED)


def _same(one: ServerList, other: ServerList) -> bool:
    if one.revision.digest and other.revision.digest:
        return one.revision.digest == other.revision.digest
    return replace(one, revision=other.revision, set_aside=()) == replace(other, set_aside=())
