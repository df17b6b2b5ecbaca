"""One channel's state: the watch and the pool together, and the outlook they publish."""

from collections.abc import Callable
from typing import Generic, TypeVar

from client_resolver.core.backends import Action, Backend, Pool
from client_resolver.core.delta import Delta
from client_resolver.core.model import Connectivity, Revision, ServerList
from client_resolver.core.outlook import Outlook, survey
from client_resolver.core.picker import Policy
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
        adopt: Takes in the service config of a list that has been taken, and returns the policy
            that holds then. It is asked before the list's connections are opened.
    """

    def __init__(self, pool: Pool[H], watch: Watch, adopt: Callable[[str], Policy]) -> None:
        self.pool = pool
        self.watch = watch
        self._adopt = adopt
        self._changed = False
        self.outlook: Outlook[H] = survey(pool, None, None)

    def begun(self, now: float) -> Revision | None:
        """Take in that the balancer is asked for a watch. See `Watch.begun`."""
        return self.watch.begun(now)

    def received(self, message: ServerList | Delta, now: float) -> list[Action[H]]:
        """Take in a message of the watch.

        Raises:
            UnknownBase: The watch must be begun anew.
        """
        return self._apply(now) if self.watch.received(message, now) else []

    def lost(self, code: str, details: str, now: float) -> Lost:
        """Take in that the watch has ended. See `Watch.lost`."""
        self._changed = True
        return self.watch.lost(code, details, now)

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
        if current is None:
            return []
        self.pool.policy = self._adopt(current.service_config)
        return self.pool.update(current.endpoints, now)
