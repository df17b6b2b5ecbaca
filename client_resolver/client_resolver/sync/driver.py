"""What the RPCs of a channel meet: the state that was published last, a pick from it, or a wait."""

from collections.abc import Collection
from random import Random
from time import monotonic

import grpc

from client_resolver.call.accounting import Rpc
from client_resolver.call.shared import Rpcs
from client_resolver.config.effective_config import EffectiveConfig
from client_resolver.config.settings import Settings
from client_resolver.core import backend as backends
from client_resolver.core.channel_state import Outlook
from client_resolver.core.guard import Guard
from client_resolver.core.machine import Machine
from client_resolver.core.picker import Picker
from client_resolver.core.snapshot import ChannelSnapshot, of_channel
from client_resolver.sync.connection import READY, Backend, Handle, Place
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.forks import follow
from client_resolver.sync.lifecycle import Lifecycle, closed
from client_resolver.sync.load_reader import LoadReader
from client_resolver.sync.machine_runner import MachineRunner
from client_resolver.sync.nesting import is_own_thread
from client_resolver.sync.subscriptions import Subscriptions
from client_resolver.sync.waiting_calls import Pending, WaitingCalls
from client_resolver.sync.wakeups import Wakeup

__all__ = ["Driver"]

_WAITS_FOR_ITSELF = "the thread that would have to wait for a backend is one that connects them"


class Driver:
    """Places RPCs on backends. What changes the channel's state are the objects that it is made of.

    Nothing runs before the first use: a channel may be made in a process that forks, and each child
    starts its own. Every method may be called on any thread at any time, by a signal handler or a
    finaliser that interrupts another of them as well. There is no lock: `outlook` never changes,
    and is replaced as a whole. `docs/threads.md` has the locks of the others.

    Attributes:
        outlook: The published state of the channel, for picks.
        closed: Nothing is begun any more.
        started: The channel has been used, so that its backends are looked up and connected.
        pending: The calls and threads that wait.
        rpcs: What the channel's RPCs have in common.
        binding: Held while a multicallable of grpc's is made.
        runner: Has the state machine and the connections.
        subscriptions: Receivers of the channel's state.
        load_reader: Reads load reports out of band.
        lifecycle: Starts and ends all of it. `start` and `close` are its methods, `observe` and
            `drained` those of `runner`, `sleep` and `undefer` those of `pending`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._config = EffectiveConfig(settings)
        self.configure = self._config.add
        self._reset()
        follow(self)

    def _reset(self) -> None:
        self.closed = False
        self.started = False
        self._work = Wakeup()
        self.pending = pending = WaitingCalls()
        self.sleep, self.undefer, self.nudge = pending.sleep, pending.remove, self._work.set
        self.subscriptions = Subscriptions(self.settings, self._work)
        rng = Random()  # noqa: S311
        machine: Machine[Handle] = self.settings.machine(rng, self._config.adopt, monotonic)
        self.outlook: Outlook[Handle] = machine.outlook
        self.runner = runner = MachineRunner(
            self.settings,
            self._config,
            machine,
            waiting=pending,
            work=self._work,
            published=self._published,
            happened=self.subscriptions.happened,
        )
        self.observe, self.drained = runner.observe, runner.drained
        self.load_reader = LoadReader(self.settings, runner)
        self.rpcs: Rpcs[Handle] = Rpcs(
            self.settings,
            machine,
            now=monotonic,
            rng=rng,
            attempt_failed=runner.attempt_failed,
            wake=runner.wake,
        )
        self._config.add(self.rpcs)
        self.binding = Guard()
        self.lifecycle = Lifecycle(self, self._work)
        self.start, self.close = self.lifecycle.start, self.lifecycle.close

    def forget(self) -> None:
        """See `client_resolver.sync.forks.Forkable`."""
        # The parent's channels are not closed: their sockets are the parent's.
        self._inherited = (self.runner, self.lifecycle)
        was_closed = self.closed
        self._reset()
        self.closed = self.runner.closed = was_closed

    def pick(self) -> Place | None:
        """Pick a backend that is ready at this moment and count an RPC on it. None: there is none.

        Each pick is to be followed by `release`.
        """
        picker = self.outlook.picker
        if picker is None:
            return None
        backend = picker.pick()
        place: Place = backends.Place(backend)
        handle = backend.handle
        # First counted, then looked at: the pool does it the other way round, so a backend whose
        # connection is about to be closed is seen by one of the two.
        if handle is not None and backend.accepting and handle.state(False) is READY:
            return place
        self._refused(place)
        return self._pick(0, (), [backend])

    def pick_for(self, rpc: Rpc[Handle]) -> Place | None:
        """Pick as `pick` does, by an RPC's key, and a backend that it wasn't tried on.

        Where backends are connected when they are picked, one that is idle is asked to connect, and
        the RPC is sent to one that is ready, if there is any.
        """
        outlook = self.outlook
        idle = outlook.idle_picker
        if idle is not None:
            asked = self._ask_idle(rpc, idle)
            if asked is not None:
                return asked
            outlook = self.outlook
        picker = outlook.picker
        if picker is None:
            return None
        backend = picker.pick(rpc.key, rpc.tried)
        place: Place = backends.Place(backend)
        handle = backend.handle
        if handle is not None and backend.accepting and handle.state(False) is READY:
            return place
        self._refused(place)
        return self._pick(rpc.key, rpc.tried, [backend])

    def _pick(self, key: int, tried: Collection[object], refused: list[Backend]) -> Place | None:
        """Pick among those that have not just turned out not to be ready."""
        while (picker := self.outlook.picker) is not None:
            backend = picker.pick(key, (*tried, *refused))
            place = self._take(backend)
            if place is not None:
                return place
            if backend in refused:
                # The driver's thread must process first what was seen here.
                return None
            refused.append(backend)
        return None

    def _ask_idle(self, rpc: Rpc[Handle], idle: Picker[Backend]) -> Place | None:
        """Pick among all, and connect what is idle. Return a place if it is ready."""
        asked = rpc.asked
        if asked is not None and asked.promising:
            return None
        rpc.asked = picked = idle.pick(rpc.key, rpc.tried)
        if picked.connectivity is READY:
            return self._take(picked)
        self.runner.idle_picked(picked)
        return None

    def _take(self, backend: Backend) -> Place | None:
        """Count an RPC on a backend, unless it isn't ready any more."""
        place: Place = backends.Place(backend)
        handle = backend.handle
        if handle is not None and backend.accepting and handle.state(False) is READY:
            return place
        self._refused(place)
        return None

    def _refused(self, place: Place) -> None:
        self.release(place)
        self.observe(place.backend)

    def release(self, place: Place) -> None:
        """An RPC has ended. Doing so again does nothing."""
        place.give_back()
        backend = place.backend
        if backend.draining:
            self.drained(backend)

    def wait(
        self, deadline: float | None, *, wait_for_ready: bool, rpc: Rpc[Handle] | None = None
    ) -> Place:
        """Wait for a backend and pick it.

        Args:
            deadline: When to give up, on the monotonic clock. None: never.
            wait_for_ready: Also wait where the outlook is a failure.
            rpc: Pick for this one.

        Raises:
            EndedCall: There is none: with the code and the text that the RPC fails with. So it is
                where this thread would wait for itself, as in an observer or a finaliser.
        """
        self.start()
        changed = Wakeup()
        self.pending.threads.add(changed)
        try:
            while True:
                if self.closed:
                    raise EndedCall(grpc.StatusCode.CANCELLED, "Channel closed!")
                place = self.pick() if rpc is None else self.pick_for(rpc)
                if place is not None:
                    return place
                ended = self.verdict(deadline, wait_for_ready=wait_for_ready, rpc=rpc)
                if ended is not None:
                    raise ended
                if is_own_thread() or self.runner.serializer.held:
                    raise self.end("UNAVAILABLE", _WAITS_FOR_ITSELF, rpc)
                changed.wait(None if deadline is None else deadline - monotonic())
        finally:
            self.pending.threads.remove(changed)

    def verdict(
        self, deadline: float | None, *, wait_for_ready: bool, rpc: Rpc[Handle] | None = None
    ) -> EndedCall | None:
        """Say how an RPC ends that finds no backend now. None: it waits."""
        outlook = self.outlook
        if outlook.failure is not None and not wait_for_ready:
            code = outlook.failure.code.name
            return self.end(code, outlook.failure.details, rpc)
        if deadline is not None and deadline <= monotonic():
            return self.end("DEADLINE_EXCEEDED", outlook.overdue("a backend"), rpc)
        if rpc is not None and outlook.picker is None:
            refused = rpc.waits()
            if refused is not None:
                return self.end(refused.code.name, refused.details, rpc)
        return None

    def end(self, code: str, why: str, rpc: Rpc[Handle] | None = None) -> EndedCall:
        """Make the end of an RPC that is decided here. The text names the channel's target."""
        text = self.settings.explain(why) if rpc is None else rpc.explained(why)
        return EndedCall(grpc.StatusCode[code], text)

    def defer(self, call: Pending) -> bool:
        """Let a call go on when there is another outlook than it has seen, or when it wants to.

        Returns:
            Whether somebody will. If not, the channel is closed, and the call is to end.
        """
        self.pending.add(call)
        if self.closed:
            self.pending.remove(call)
            return False
        wake_at = call.wake_at
        if self.outlook is not call.seen or (
            wake_at is not None and wake_at < self.lifecycle.thread.wakes_at
        ):
            self._work.set()
        return True

    def snapshot(self) -> ChannelSnapshot:
        """Return the whole state of the channel. See `Snapshots` for who changes it himself."""
        found, waiting = self.runner.snapshots.latest(), len(self.pending)
        return of_channel(
            found, self.rpcs.breaker, waiting, started=self.started, closed=self.closed
        )

    def _published(self, outlook: Outlook[Handle]) -> None:
        self.outlook = outlook
        if self.closed:
            # `close`, on any thread, does it the other way round.
            self.outlook = closed(outlook)
        self.pending.threads.set()
        self.load_reader.arrange(self.runner.machine.load_period)
        if self.pending or self.subscriptions:
            self._work.set()

    def __repr__(self) -> str:
        return self.runner.snapshots.describe(started=self.started, closed=self.closed)
