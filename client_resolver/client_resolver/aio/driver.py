"""What the RPCs of a channel meet: the state that was published last, and a pick from it."""

import asyncio
from random import Random
from threading import get_ident

import grpc

from client_resolver.aio.connection import READY, Backend, Connection
from client_resolver.aio.lifecycle import Lifecycle
from client_resolver.aio.load_streams import LoadStreams
from client_resolver.aio.machine_runner import MachineRunner
from client_resolver.aio.waiting_calls import WaitingCalls
from client_resolver.call.accounting import Rpc
from client_resolver.call.shared import Rpcs
from client_resolver.config.effective_config import EffectiveConfig
from client_resolver.config.settings import Settings, describe
from client_resolver.core.channel_state import Outlook
from client_resolver.core.picker import Picker
from client_resolver.core.snapshot import ChannelSnapshot, of_channel

__all__ = ["Driver"]

_READY = grpc.ChannelConnectivity.READY


class Driver:
    """Places RPCs on backends. What changes the channel's state are the objects that it is made of.

    Nothing runs before the first use: a channel may be made where no loop runs yet, and in a
    process that forks. All of it is called on the event loop alone, but for `snapshot` and
    `abandon`.

    Attributes:
        outlook: The published state of the channel.
        closed: Nothing is begun any more.
        loop: The event loop that the channel belongs to, while it is in use.
        thread: Its thread. 0: RPCs must call `start`.
        pending: The RPCs that have no attempt under way.
        rpcs: What the RPCs that are more than a plain call have in common.
        channels: The backends' channels that are open.
        runner: Has the state machine and the connections.
        load_streams: Read load reports out of band.
        lifecycle: Starts and ends all of it. `start`, `close` and `abandon` are its methods.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.closed = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = 0
        self.pending = WaitingCalls()
        config = EffectiveConfig(settings)
        self.configure = config.add
        rng = Random()  # noqa: S311
        self.runner = runner = MachineRunner(settings, config, rng, self._published)
        self.outlook: Outlook[Connection] = runner.machine.outlook
        self._picker: Picker[Backend] | None = None
        self.channels = runner.connections.channels
        self.drained = runner.drained
        self.rpcs: Rpcs[Connection] = Rpcs(
            settings,
            runner.machine,
            now=runner.now,
            rng=rng,
            attempt_failed=runner.attempt_failed,
            wake=runner.wake,
        )
        config.add(self.rpcs)
        self.load_streams = LoadStreams(settings, runner.machine.loaded, runner.now, rng)
        self.lifecycle = Lifecycle(self)
        self.start, self.close = self.lifecycle.start, self.lifecycle.close
        self.abandon = self.lifecycle.abandon

    def pick(self, key: int = 0) -> Backend | None:
        """Pick a backend that is ready, for an RPC that needs nothing else. None: there is none.

        Args:
            key: The RPC's, where the policy is keyed.

        Raises:
            RuntimeError, grpc.aio.UsageError: See `start`.
        """
        # A fifth of what `get_running_loop` costs: a thread runs one loop at a time.
        loop = self.loop
        if loop is None or not loop.is_running() or get_ident() != self.thread:
            self.start()
        while (picker := self._picker) is not None:
            backend = picker.pick(key)
            connection = backend.handle
            if connection is not None and connection.check(False) == READY:
                return backend
            if not self._lost_sight_of(backend):
                return None
        return None

    def pick_for(self, rpc: Rpc[Connection]) -> Backend | None:
        """Pick a backend for an RPC's next attempt. None: there is none at this moment."""
        while True:
            idle, asked = self.outlook.idle_picker, rpc.asked
            if idle is not None and (asked is None or not asked.promising):
                rpc.asked = asked = idle.pick(rpc.key, rpc.tried)
                if asked.handle is not None and asked.handle.ready():
                    return asked
                self.runner.idle_picked(asked)
            picker = self._picker
            if picker is None:
                return None
            backend = picker.pick(rpc.key, rpc.tried)
            connection = backend.handle
            if connection is not None and connection.ready():
                return backend
            # If it is ready again by now, there will be no other outlook to wake the RPC.
            if not self._lost_sight_of(backend) and not backend.ready:
                return None

    def _lost_sight_of(self, backend: Backend) -> bool:
        # Its follower hasn't told yet that it isn't ready any more.
        if backend.handle is not None:
            self.runner.observe(backend, backend.handle)
        return self.runner.publish()

    def is_ready(self, backend: Backend, channel: grpc.aio.Channel) -> bool:
        """Whether a channel of a backend is ready at this moment."""
        connection = backend.handle
        if connection is None or channel not in self.channels:
            return False
        ready = channel.get_state() is _READY
        if not ready:
            self.runner.observe(backend, connection)
        return ready

    async def changed(self) -> None:
        """Wait for another published state.

        Raises:
            RuntimeError: The channel belongs to another event loop.
        """
        self.lifecycle.refuse_elsewhere()
        await self.pending.changed()

    def connect(self) -> None:
        """Ask for a connection where there is none."""
        idle = self.outlook.idle_picker
        if idle is not None and self._picker is None:
            self.runner.idle_picked(idle.pick())

    def snapshot(self) -> ChannelSnapshot:
        """Return the state of the whole channel as a record."""
        runner = self.runner
        found, waiting = runner.machine.snapshot(runner.now()), len(self.pending)
        started = self.lifecycle.started
        return of_channel(found, self.rpcs.breaker, waiting, started=started, closed=self.closed)

    def _published(self, outlook: Outlook[Connection]) -> None:
        self.outlook = outlook
        self._picker = None if self.closed else outlook.picker
        self.pending.wake()
        machine = self.runner.machine
        if self.loop is not None:
            self.load_streams.arrange(machine.load_period, machine.pool)

    def __repr__(self) -> str:
        started, machine = self.loop is not None, self.runner.machine
        return describe(self.settings, machine, closed=self.closed, started=started)
