"""One channel's state: the watch and the pool together, and the outlook they publish."""

from typing import Generic, TypeVar

from client_resolver.core.backends import Action, Backend, Pool
from client_resolver.core.model import Connectivity, ServerList
from client_resolver.core.outlook import Outlook, survey
from client_resolver.core.watch import Lost, Watch

__all__ = ["Machine"]

H = TypeVar("H")


class Machine(Generic[H]):
    """Takes in every event of a channel and says what is to be done.

    Events change the state at once and the outlook only at `publish`: a burst of events builds one
    picker. A shell serialises all calls.

    Args:
        pool: The backends.
        watch: The resolver's flow. For a fixed list, one that is fed that list and never more.
    """

    def __init__(self, pool: Pool[H], watch: Watch) -> None:
        self.pool = pool
        self.watch = watch
        self._changed = False
        self.outlook: Outlook[H] = survey(pool, None, None)

    def received(self, message: ServerList, now: float) -> list[Action[H]]:
        """Take in a message of the watch."""
        return self._apply(now) if self.watch.received(message, now) else []

    def lost(self, code: str, details: str) -> Lost:
        """Take in that the watch has ended. See `Watch.lost`."""
        self._changed = True
        return self.watch.lost(code, details)

    def observed(self, backend: Backend[H], connectivity: Connectivity) -> list[Action[H]]:
        """Take in the state of a backend's connection. See `Pool.observed`."""
        if connectivity is not backend.connectivity:
            self._changed = True
        return self.pool.observed(backend, connectivity)

    def tick(self, now: float) -> list[Action[H]]:
        """Do what has become due: see `wake_at`. Also after a draining backend's last RPC."""
        if self.watch.expire(now):
            return self._apply(now)
        return self.pool.drained(now)

    @property
    def wake_at(self) -> float | None:
        """When `tick` must be called next. None: not at all."""
        times = [time for time in (self.watch.wake_at, self.pool.wake_at) if time is not None]
        return min(times, default=None)

    def publish(self) -> bool:
        """Bring `outlook` up to date. Return whether it is a new one."""
        if not self._changed:
            return False
        self._changed = False
        self.outlook = survey(self.pool, self.watch.current, self.watch.failure)
        return True

    def close(self) -> list[Action[H]]:
        """Let go of everything. The outlook has no picker from here on."""
        actions = self.pool.close()
        self._changed = True
        self.publish()
        return actions

    def _apply(self, now: float) -> list[Action[H]]:
        current = self.watch.current
        self._changed = True
        return [] if current is None else self.pool.update(current.endpoints, now)
