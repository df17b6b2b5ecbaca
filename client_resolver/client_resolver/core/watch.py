"""The resolver's flow: which list holds, when to reconnect, what is known of the balancer."""

from dataclasses import dataclass, replace

from client_resolver.core.backoff import FullJitter
from client_resolver.core.model import Code, Failure, ListState, ServerList

__all__ = ["Lost", "Watch"]

_REFUSALS = frozenset(
    {
        Code.FAILED_PRECONDITION,
        Code.INVALID_ARGUMENT,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.UNIMPLEMENTED,
    }
)
"""What a balancer answers to a request that it will refuse again."""


@dataclass(frozen=True, slots=True)
class Lost:
    """What to do after a watch has ended.

    Attributes:
        delay: Seconds to wait before the next attempt.
        warning: What an operator should read.
        repeated: The attempt before this one failed as well.
    """

    delay: float
    warning: str
    repeated: bool


class Watch:
    """Decides what each event of a watch means. Holds the last known list for ever.

    A list of the held one's epoch and of a smaller version comes from a balancer replica that lags.
    It is put off until the replica has caught up, for `hold` seconds at most; then it is taken,
    for the source itself may have gone back.

    Args:
        balancer: The balancer's address, for messages.
        backoff: The waits between attempts.
        hold: How long a list that is known to be older is put off, in seconds.
    """

    def __init__(self, balancer: str, backoff: FullJitter, hold: float) -> None:
        self._balancer = balancer
        self._backoff = backoff
        self._hold = hold
        self._older: ServerList | None = None
        self._older_until = 0.0
        self._failed = False
        self.current: ServerList | None = None
        self.failure: Failure | None = None
        """Why there is no list. None once there is one, or while the first attempt runs."""

    @property
    def wake_at(self) -> float | None:
        """When `expire` is due. None: not at all."""
        return None if self._older is None else self._older_until

    def received(self, message: ServerList, now: float) -> bool:
        """Take in a message of the watch. Return whether `current` has changed."""
        self._backoff.reset()
        self._failed = False
        current = self.current
        if current is None:
            return self._accept(message)
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
        if message.state is ListState.STALE and not message.endpoints:
            return False
        return self._accept(message)

    def expire(self, now: float) -> bool:
        """Take the older list when it was put off long enough. Return whether `current` changed."""
        if self._older is None or now < self._older_until:
            return False
        message, self._older = self._older, None
        if message.state is ListState.STALE and not message.endpoints:
            return False
        return self._accept(message)

    def lost(self, code: str, details: str) -> Lost:
        """Take in that the watch has ended or that it could not be started.

        Args:
            code: The name of the gRPC status code.
            details: The status's text.

        Returns:
            When to try again.
        """
        self._older = None
        delay = self._backoff.next()
        repeated, self._failed = self._failed, True
        reason = f"{code}: {details}" if details else code
        if self.current is not None:
            kept = f"the {len(self.current.endpoints)} backends last known are kept"
            text = f"lost the watch at balancer {self._balancer} ({reason}); {kept}"
            return Lost(delay, text, repeated)
        refusals = [refusal for refusal in _REFUSALS if refusal.value == code]
        if refusals:
            text = f"balancer {self._balancer} refuses: {reason}"
            self.failure = Failure(refusals[0], text)
        else:
            text = f"balancer {self._balancer} gives no list: {reason}"
            self.failure = Failure(Code.UNAVAILABLE, text)
        return Lost(delay, text, repeated)

    def _accept(self, message: ServerList) -> bool:
        self.current = message
        self.failure = None
        self._older = None
        return True


def _same(one: ServerList, other: ServerList) -> bool:
    if one.revision.digest and other.revision.digest:
        return one.revision.digest == other.revision.digest
    return one.endpoints == other.endpoints and one.state == other.state
