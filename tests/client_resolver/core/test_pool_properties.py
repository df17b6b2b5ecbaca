"""The pool under any order of events, against a model of a few lines."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from client_resolver.core.backend import Action, Backend, Close, Connect, Open
from client_resolver.core.breaker import Limits
from client_resolver.core.config import PoolConfig, PoolOptions
from client_resolver.core.connection_set import ATTEMPT_DELAY
from client_resolver.core.model import Connectivity, Endpoint
from client_resolver.core.outlier import OutlierDetection
from client_resolver.core.picker import BasePolicy
from client_resolver.core.pool import Pool
from client_resolver.core.priorities import LocalityPriorities
from client_resolver.core.priority_picker import PriorityPicker
from client_resolver.core.slow_start import SlowStart
from tests.client_resolver.core.pooling import FAILED, IDLE, READY, Clock, endpoint

PORTS = range(1, 7)
ZONES = {port: "ab"[port % 2] for port in PORTS}


class First:
    """A picker that tells what it picks from."""

    concurrent = True

    def __init__(self, backends: Sequence[Backend[object]]) -> None:
        self.backends = tuple(backends)
        self.weights = [backend.weight for backend in backends]

    def pick(self, key: int = 0, tried: object = ()) -> Backend[object]:
        return self.backends[key % len(self.backends)]


class All(BasePolicy):
    name = "all"

    def build(self, backends: Sequence[Backend[object]], *_: object) -> First:
        return First(backends)


class One(All):
    name = "one"
    connects = "one"


OUTLIER = OutlierDetection(consecutive_errors=1, base_ejection_time=20, max_ejection_percent=100)

configs = st.builds(
    PoolConfig,
    policy=st.sampled_from([All(), All(), One()]),
    outlier=st.sampled_from([OUTLIER, OUTLIER, None]),
    slow_start=st.sampled_from([None, SlowStart(10)]),
    limits=st.sampled_from([Limits(), Limits(max_connections=2), Limits(max_connections=5)]),
    panic_threshold=st.sampled_from([0, 50]),
    priorities=st.sampled_from([None, LocalityPriorities(("zone",))]),
)
options = st.builds(
    PoolOptions,
    drain_timeout=st.sampled_from([None, 15.0]),
    lazy=st.booleans(),
    idle_timeout=st.sampled_from([None, 25.0]),
    connections_per_backend=st.sampled_from([1, 2]),
    zone=st.just("a"),
)
lists = st.dictionaries(st.sampled_from(PORTS), st.sampled_from([0, 1, 1, 3]))


class PoolMachine(RuleBasedStateMachine):
    """Plays shell, balancer, backends and callers."""

    pool: Pool[object]

    @initialize(config=configs, chosen=options, up=st.booleans())
    def begin(self, config: PoolConfig, chosen: PoolOptions, up: bool) -> None:
        self.clock = Clock()
        self.options = chosen
        self.pool = Pool(config, Random(1), self.clock, chosen)
        self.listed: list[Endpoint] = []
        self.open: dict[Backend[object], Connectivity] = {}
        self.failed: set[Backend[object]] = set()
        self.attempts: dict[Backend[object], float] = {}
        self.slow: set[Backend[object]] = set()
        self.calls: list[Backend[object]] = []
        if up:
            self.a_list_comes(dict.fromkeys(PORTS, 1))
            self.all_connections_are_made()

    @property
    def limit(self) -> int | None:
        config = self.pool.config
        if config.policy.connects == "one":
            return 1
        most = config.limits.max_connections
        return None if most is None else max(1, most // self.options.connections_per_backend)

    @property
    def usable(self) -> list[Backend[object]]:
        backends = {backend.address: backend for backend in self.pool}
        return [backends[one.address.text] for one in self.listed if one.weight > 0]

    def may_open(self) -> bool:
        held = [backend for backend in self.open if backend not in self.failed | self.slow]
        pickable = [backend for backend in held if backend in self.usable]
        return self.limit is None or len(held) < self.limit or not pickable

    def perform(self, actions: Sequence[Action[object]]) -> None:
        for action in actions:
            backend = action.backend
            match action:
                case Open():
                    assert backend not in self.open
                    assert self.may_open()
                    self.open[backend] = IDLE
                    self.attempts[backend] = self.clock.now
                case Connect():
                    assert self.open[backend] is IDLE
                    assert not backend.draining
                    self.attempts[backend] = self.clock.now
                case Close():
                    until = backend.drain_until
                    overdue = until is not None and until <= self.clock.now
                    assert not backend.in_flight or overdue
                    del self.open[backend]
                    self.failed.discard(backend)
                    self.attempt_ends(backend)

    def attempt_ends(self, backend: Backend[object]) -> None:
        self.attempts.pop(backend, None)
        self.slow.discard(backend)

    @rule(given=lists)
    def a_list_comes(self, given: dict[int, int]) -> None:
        self.listed = [
            endpoint(port, weight, zone=ZONES[port]) for port, weight in sorted(given.items())
        ]
        self.perform(self.pool.update(self.listed, self.clock.now))

    @rule(config=configs)
    def a_config_comes(self, config: PoolConfig) -> None:
        self.pool.configure(config, self.clock.now)
        self.perform(self.pool.update(self.listed, self.clock.now))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), state=st.sampled_from(list(Connectivity)[:4]))
    def a_connection_changes(self, data: st.DataObject, state: Connectivity) -> None:
        backend = data.draw(st.sampled_from(list(self.open)))
        self.open[backend] = state
        if state in {READY, FAILED}:
            self.attempt_ends(backend)
            self.failed.discard(backend)
        if state is FAILED:
            self.failed.add(backend)
        self.perform(self.pool.observed(backend, state))

    @precondition(lambda self: self.open)
    @rule()
    def all_connections_are_made(self) -> None:
        for backend in list(self.open):
            if backend in self.open:
                self.open[backend] = READY
                self.failed.discard(backend)
                self.attempt_ends(backend)
                self.perform(self.pool.observed(backend, READY))

    @rule(key=st.integers(0, 9))
    def an_rpc_begins(self, key: int) -> None:
        picker, idle_picker = self.pool.pickers()
        if idle_picker is not None:
            backend = idle_picker.pick(key)
            if not backend.ready:
                self.perform(self.pool.idle_picked(backend, self.clock.now))
        if picker is not None:
            backend = picker.pick(key)
            backend.in_flight.add(object())
            assert backend.accepting or not backend.ready
            self.calls.append(backend)

    @rule(key=st.integers(0, 9))
    def an_rpc_fails_at_once(self, key: int) -> None:
        picker = self.pool.pickers()[0]
        if picker is not None:
            self.pool.failed(picker.pick(key), "UNAVAILABLE", 0.1, self.clock.now)

    @precondition(lambda self: self.calls)
    @rule(code=st.sampled_from(["OK", "UNAVAILABLE", "UNAVAILABLE"]))
    def an_rpc_ends(self, code: str) -> None:
        backend = self.calls.pop(0)
        backend.in_flight.pop()
        if code != "OK":
            self.pool.failed(backend, code, 0.1, self.clock.now)
        elif self.pool.succeeded(backend, 0.1):
            self.pool.wake(self.clock.now)
        if backend.draining and not backend.in_flight:
            self.perform(self.pool.drained(backend, self.clock.now))

    def what_is_due_is_done(self) -> None:
        if self.limit is not None or self.options.lazy:
            now = self.clock.now
            self.slow |= {
                one for one, began in self.attempts.items() if began + ATTEMPT_DELAY <= now
            }
        self.perform(self.pool.tick(self.clock.now))

    @rule(seconds=st.floats(0.1, 12))
    def time_passes(self, seconds: float) -> None:
        end = self.clock.now + seconds
        for _ in range(1000):
            wake_at = self.pool.wake_at
            if wake_at is None or wake_at > end:
                break
            self.clock.now = max(self.clock.now, wake_at)
            self.what_is_due_is_done()
            self.pool.pickers()
        else:
            pytest.fail("it is never done with what is due")
        self.clock.now = end

    @invariant()
    def the_pickers_have_whom_they_should(self) -> None:
        ready = [backend for backend in self.usable if self.open.get(backend) is READY]
        well = [backend for backend in ready if not backend.ejected]
        if not well or len(well) * 100 < self.pool.config.panic_threshold * len(ready):
            well = ready
        picker, idle_picker = self.pool.pickers()
        assert candidates(picker) == set(well)
        idle = {
            backend
            for backend in self.usable
            if backend not in self.failed | self.slow and (backend in well or not backend.ejected)
        }
        if not self.options.lazy or not self.may_open() or idle <= self.open.keys():
            idle = set()
        assert candidates(idle_picker) == idle

    @invariant()
    def the_weights_have_the_right_proportions(self) -> None:
        picker = self.pool.pickers()[0]
        slow = self.pool.config.slow_start
        full = {
            backend.weight / backend.endpoint.weight
            for backend in candidates(picker)
            if slow is None or not backend.late
        }
        assert full <= {1} or full == {100}

    @invariant()
    def who_is_connected_is_known(self) -> None:
        assert {backend for backend in self.pool if backend.opened} == self.open.keys()
        for backend, state in self.open.items():
            assert backend.connectivity is state
            assert backend.accepting is not backend.draining
        assert all(backend.in_flight for backend in self.pool if backend.draining)
        if not self.options.lazy:
            left = [backend for backend in self.usable if backend not in self.open]
            assert not left or not self.may_open()

    @invariant()
    def the_state_is_aggregated(self) -> None:
        usable = self.usable
        states = [self.open.get(backend) for backend in usable]
        if READY in states:
            expected = READY
        elif usable and all(backend in self.failed for backend in usable):
            expected = FAILED
        elif (
            usable
            and self.options.lazy
            and all(b in self.failed or b not in self.open for b in usable)
        ):
            expected = IDLE
        else:
            expected = Connectivity.CONNECTING
        assert self.pool.connectivity() is expected

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        for backend in self.calls:
            backend.in_flight.pop()
        self.what_is_due_is_done()
        self.perform(self.pool.close())
        assert not self.open
        assert self.pool.wake_at is None
        assert self.pool.pickers() == (None, None)


def candidates(picker: object) -> set[Backend[object]]:
    picker = getattr(picker, "inner", picker)
    if picker is None:
        return set()
    if isinstance(picker, PriorityPicker):
        return {backend for level in picker.levels for backend in level.backends}
    assert isinstance(picker, First)
    return set(picker.backends)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=200, stateful_step_count=40)
