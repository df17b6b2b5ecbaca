"""One channel's state: the watch and the pool together, and the outlook they publish."""

from collections.abc import Callable
from typing import Generic, TypeVar

from client_resolver.core.backend import Action, Backend
from client_resolver.core.building import Build
from client_resolver.core.channel_state import Outlook, survey
from client_resolver.core.config import PoolConfig
from client_resolver.core.connection_errors import ConnectionErrors
from client_resolver.core.delta import Delta
from client_resolver.core.events import BalancerLost, Event, ListChanged, ListConfirmed
from client_resolver.core.freshness import Freshness
from client_resolver.core.load import LoadReport
from client_resolver.core.model import Code, Connectivity, ListState, Revision, ServerList
from client_resolver.core.pool import Pool
from client_resolver.core.snapshot import ChannelSnapshot, snapshot_of
from client_resolver.core.watch import Lost, Watch, is_unreached

__all__ = ["Machine"]

H = TypeVar("H")


class Machine(Generic[H]):
    """Receives every event of a channel and returns the actions to take.

    Events change the state at once and the outlook only at `publish`: a burst of events builds one
    picker. A shell serialises all calls.

    Args:
        pool: The backends.
        watch: Holds the list. For a fixed list, one that is fed that list and never more.
        adopt: Called with the service config of each accepted list; returns the config to use.
            Called before the list's connections are opened.

    Attributes:
        outlook: What the next RPC meets, as last published.
    """

    def __init__(self, pool: Pool[H], watch: Watch, adopt: Callable[[str], PoolConfig]) -> None:
        self.pool = pool
        self.watch = watch
        self._adopt = adopt
        self._errors: ConnectionErrors[H] = ConnectionErrors(pool.now)
        self._relisted = False
        self._taken_at: float | None = None
        self._lost = ""
        self._freshness = Freshness()
        self.outlook: Outlook[H] = survey(pool, None, None)

    @property
    def config(self) -> PoolConfig:
        """The pool's configuration."""
        return self.pool.config

    @property
    def tracked(self) -> bool:
        """Whether each attempt of an RPC that succeeds must be reported."""
        return self.pool.tracked

    @property
    def tracks_failures(self) -> bool:
        """Whether `failed` is to be called for each attempt that fails."""
        return self.pool.tracks_failures

    @property
    def wants_load(self) -> bool:
        """Whether the load reports in trailing metadata are to be read."""
        return self.pool.config.policy.load_reports

    @property
    def changed(self) -> bool:
        """Whether `publish` has work to do."""
        return self._relisted or self.pool.changed

    @property
    def urgent(self) -> bool:
        """Whether `publish` should be called at once: till then RPCs may go to a lost backend.

        Otherwise a few milliseconds do no harm: while many backends become ready one after another,
        one picker serves for several of them. A picker costs O(n).
        """
        return self._relisted or self.pool.urgent

    @property
    def build(self) -> Build[Backend[H]] | None:
        """A picker that is being built: call its `step`, without a lock, and then `built`."""
        return self.pool.build

    def built(self, build: Build[Backend[H]]) -> None:
        """All steps of `build` are done. `publish` must follow."""
        self.pool.built(build)

    @property
    def wake_at(self) -> float | None:
        """When `tick` must be called next. None: not at all.

        It changes with every batch of actions, with a new outlook, where `failed` says so, and with
        `Pool.wake`.
        """
        times = (self.watch.wake_at, self.pool.wake_at, self._errors.wake_at)
        return min((time for time in times if time is not None), default=None)

    def begun(self, now: float) -> Revision | None:
        """A watch was requested from the balancer. See `Watch.begun`."""
        known = self.watch.begun(now)
        self._freshness.begun(now, known=known is not None)
        return known

    def received(self, message: ServerList | Delta, now: float) -> list[Action[H]]:
        """A message of the watch came.

        Raises:
            UnknownBase: The watch must be started again.
        """
        before = self.watch.current
        new = self.watch.received(message, now)
        listed = message.changed if isinstance(message, Delta) else message
        if not listed.provisional:
            self._lost = ""
        vouched = listed.state is not ListState.STALE and not listed.provisional
        confirmed = vouched and self.watch.wake_at is None
        if confirmed or not listed.provisional or new:
            self._freshness.heard(now, current=confirmed)
        if new:
            try:
                return self._apply(now)
            except Exception:
                # It would count as held if it came again.
                self.watch.undo(before)
                raise
        if self.pool.log.on and confirmed:
            self.pool.log.add(ListConfirmed())
        return []

    def lost(self, code: Code, details: str, now: float, *, misread: bool = False) -> Lost:
        """The watch ended. See `Watch.lost`."""
        self._relisted = True
        lost = self.watch.lost(code, details, now, misread=misread)
        self._freshness.lost(now, reached=not is_unreached(details))
        if code is not Code.OK:
            self._lost = lost.text
            if self.pool.log.on:
                self.pool.log.add(BalancerLost(lost.text))
        return lost

    def fallback_failed(self, why: str) -> None:
        """The fallback could not be looked up."""
        self._relisted = True
        self.watch.fallback_failed(why)

    def observed(self, backend: Backend[H], connectivity: Connectivity) -> list[Action[H]]:
        """The connection of a backend is in this state.

        One that fails is taken for one that connects until `explained` says why it fails.

        Args:
            backend: Whose. If it has no open connection, nothing happens.
            connectivity: The state of the connection that it has now, of no earlier one.
        """
        if connectivity is not Connectivity.TRANSIENT_FAILURE or not backend.opened:
            self._errors.forget(backend)
            return self.pool.observed(backend, connectivity)
        if backend.connectivity is connectivity:
            return []
        actions: list[Action[H]] = [*self._errors.failed(backend)]
        if backend.ready:
            actions += self.pool.observed(backend, Connectivity.CONNECTING)
        return actions

    def explained(self, backend: Backend[H], why: str) -> list[Action[H]]:
        """An `Explain` was carried out, and the connection fails still.

        Args:
            backend: Whose connection.
            why: In gRPC's words. Empty: it isn't known.
        """
        if not self._errors.answered(backend):
            return []
        if why:
            backend.last_error = why
        # The text of the outlook may be another.
        self.pool.changed = True
        return self.pool.observed(backend, Connectivity.TRANSIENT_FAILURE)

    def failed(
        self, backend: Backend[H], code: str, seconds: float, now: float, *, pushback: bool = False
    ) -> bool:
        """An attempt of an RPC failed. One that succeeded goes to `Pool.succeeded`.

        Args:
            backend: Where.
            code: The name of its gRPC status code.
            seconds: How long it took.
            now: The time on the monotonic clock, in seconds.
            pushback: The server said when to try again (gRFC A6).

        Returns:
            Whether to publish, and to look at `wake_at` again.
        """
        return self.pool.failed(backend, code, seconds, now, pushback=pushback)

    @property
    def load_period(self) -> float | None:
        """How often backends that are ready are to report their load, in seconds. None: never."""
        return self.pool.config.policy.load_period

    def loaded(self, backend: Backend[H], load: LoadReport) -> None:
        """A backend has reported its load. The policy looks at it when it is refreshed.

        Any thread may call it at any time.
        """
        backend.load = load

    def idle_picked(self, backend: Backend[H], now: float) -> list[Action[H]]:
        """`Outlook.idle_picker` has picked a backend that isn't ready."""
        return self.pool.idle_picked(backend, now)

    def drained(self, backend: Backend[H], now: float) -> list[Action[H]]:
        """The last RPC of a draining backend ended."""
        return self.pool.drained(backend, now)

    def tick(self, now: float) -> list[Action[H]]:
        """Do what has become due: see `wake_at`."""
        actions = self._apply(now) if self.watch.expire(now) else []
        return [*actions, *self.pool.tick(now), *self._errors.due(now)]

    def publish(self) -> bool:
        """Bring `outlook` up to date. Return whether it is a new one."""
        if not self.changed:
            return False
        self._relisted = False
        outlook = survey(self.pool, self.watch.listed, self.watch.failure)
        if outlook == self.outlook:
            return False
        self.outlook = outlook
        return True

    def close(self) -> list[Action[H]]:
        """Release everything. The published state has no picker from here on."""
        actions = self.pool.close()
        self.publish()
        return actions

    def events(self) -> list[Event]:
        """Return what has happened since the last time. Empty if nobody wants to know."""
        return self.pool.log.take() if self.pool.log.on else []

    def snapshot(self, now: float) -> ChannelSnapshot:
        """Describe the channel as it is now. Its state and weights are those last published."""
        current, outlook = self.watch.current, self.outlook
        return ChannelSnapshot(
            state=outlook.connectivity,
            waiting=outlook.waiting,
            policy=self.config.policy.name,
            revision=None if current is None else current.revision,
            list_state=None if current is None else current.state,
            list_age=None if self._taken_at is None else now - self._taken_at,
            stale_for=self._freshness.age(now),
            balancer=self._lost,
            panic=self.pool.panic,
            settled=not self.changed,
            backends=tuple(snapshot_of(backend, now) for backend in self.pool),
        )

    def _apply(self, now: float) -> list[Action[H]]:
        current = self.watch.current
        self._relisted = True
        if current is None:
            return []
        self._taken_at = now
        self.pool.configure(self._adopt(current.service_config), now)
        actions = self.pool.update(current.endpoints, now)
        if self.pool.log.on:
            self.pool.log.add(ListChanged(current.revision, len(current.endpoints)))
        return actions
