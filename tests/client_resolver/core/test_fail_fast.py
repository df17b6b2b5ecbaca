"""No policy is drawn to a backend that fails at once, whatever it fails with.

A simulation on a clock of its own: RPCs arrive, are picked by the pool's own pickers, and end after
a time that depends on the backend.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from math import sqrt
from random import Random

import pytest

from client_resolver.core.backend import Backend
from client_resolver.core.config import PoolConfig
from client_resolver.core.fields import STATUS_CODES
from client_resolver.core.load import LoadReport
from client_resolver.core.model import Connectivity
from client_resolver.core.pickers import policy_named
from client_resolver.core.pool import Pool
from tests.client_resolver.core.pooling import endpoint, port_of

RPCS = 800
BAD = 1
"""The port of the backend that fails."""
FAST = 0.001
SOUND = 0.05
"""Seconds that a failure takes, and, on average, an answer."""

POLICIES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "least_request": ("least_request", {}),
    "least_request of all": ("least_request", {"choiceCount": 10}),
    "peak_ewma": ("peak_ewma", {}),
}


@dataclass
class Simulation:
    """RPCs against a pool of which one backend fails at once.

    Attributes:
        code: What it fails with.
        weights: Of the backends, that one first.
        arrivals: RPCs per second that arrive at random. None: `running` are kept running.
        running: How many.
        failing: Which part of that backend's RPCs fails.
        latency: How long an answer takes on average, in seconds.
    """

    policy: str
    code: str
    weights: tuple[int, ...]
    arrivals: float | None = None
    running: int = 20
    pushback: bool = False
    failing: float = 1.0
    latency: float = SOUND

    def __post_init__(self) -> None:
        self.now = 0.0
        self.rng = Random(7)
        self.picked: Counter[int] = Counter()
        name, settings = POLICIES[self.policy]
        config = PoolConfig(policy=policy_named(name, settings))
        self.pool: Pool[object] = Pool(config, Random(8), lambda: self.now)
        listed = [endpoint(port, weight) for port, weight in enumerate(self.weights, BAD)]
        self.pool.update(listed, 0.0)
        for backend in list(self.pool):
            self.pool.observed(backend, Connectivity.READY)
        self.running_rpcs: list[tuple[float, int, Backend[object], str, float]] = []
        self.numbers = count()

    def begin(self) -> None:
        picker, _ = self.pool.pickers()
        assert picker is not None
        backend = picker.pick()
        backend.in_flight.add(object())
        self.picked[port_of(backend)] += 1
        bad = port_of(backend) == BAD and self.rng.random() < self.failing
        code = self.code if bad else "OK"
        seconds = FAST if bad else self.rng.expovariate(1 / self.latency)
        heapq.heappush(
            self.running_rpcs, (self.now + seconds, next(self.numbers), backend, code, seconds)
        )

    def end(self) -> None:
        self.now, _, backend, code, seconds = heapq.heappop(self.running_rpcs)
        backend.in_flight.pop()
        if code != "OK":
            if self.pool.tracks_failures:
                self.pool.failed(backend, code, seconds, self.now, pushback=self.pushback)
        elif self.pool.tracked:
            self.pool.succeeded(backend, seconds)

    def share(self) -> float:
        """Run it, and return the failing backend's share of the RPCs."""
        if self.arrivals is None:
            for _ in range(self.running):
                self.begin()
            while self.picked.total() < RPCS:
                self.end()
                self.begin()
        else:
            arrives = 0.0
            for _ in range(RPCS):
                arrives += self.rng.expovariate(self.arrivals)
                while self.running_rpcs and self.running_rpcs[0][0] <= arrives:
                    self.end()
                self.now = arrives
                self.begin()
        return self.picked[BAD] / RPCS


def at_most(fair: float) -> float:
    """A share with five standard errors on top."""
    return fair + 5 * sqrt(fair * (1 - fair) / RPCS)


@pytest.mark.parametrize("code", STATUS_CODES[1:])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("weights", "arrivals"),
    [((1, 1), None), ((1, 1), 100.0), ((3, 1, 1), None)],
    ids=["two kept busy", "two", "by weight"],
)
def test_a_backend_that_fails_at_once_gets_at_most_its_share(
    policy: str, code: str, weights: tuple[int, ...], arrivals: float | None
) -> None:
    share = Simulation(policy, code, weights, arrivals).share()
    assert share <= at_most(weights[0] / sum(weights))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("code", "pushback"),
    [(code, False) for code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL", "UNKNOWN")]
    + [("NOT_FOUND", True)],
)
def test_what_shows_overload_costs_more_than_a_share(
    policy: str, code: str, pushback: bool
) -> None:
    share = Simulation(policy, code, (1,) * 5, pushback=pushback).share()
    assert share <= at_most(0.2 / 3)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("failing", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("arrivals", [None, 100.0])
def test_one_that_fails_at_times_gets_at_most_its_share(
    policy: str, failing: float, arrivals: float | None
) -> None:
    share = Simulation(policy, "NOT_FOUND", (1,) * 4, arrivals, failing=failing).share()
    assert share <= at_most(0.25)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("latency", [0.0001, 10.0])
def test_it_holds_however_long_an_answer_takes(policy: str, latency: float) -> None:
    for arrivals in (None, 3 / latency):
        share = Simulation(policy, "UNIMPLEMENTED", (1,) * 3, arrivals, latency=latency).share()
        assert share <= at_most(1 / 3)


@pytest.mark.parametrize("policy", POLICIES)
def test_where_all_fail_alike_all_get_their_share(policy: str) -> None:
    simulation = Simulation(policy, "NOT_FOUND", (1,) * 4)
    pool = simulation.pool
    picker, _ = pool.pickers()
    assert picker is not None
    for _ in range(RPCS):
        backend = picker.pick()
        simulation.picked[port_of(backend)] += 1
        simulation.now += 0.01
        pool.failed(backend, "NOT_FOUND", 0.01, simulation.now)
    assert all(abs(picks / RPCS - 0.25) < 0.05 for picks in simulation.picked.values())


@pytest.mark.parametrize("policy", POLICIES)
def test_what_it_sits_out_goes_over_to_the_next_picker(policy: str) -> None:
    simulation = Simulation(policy, "NOT_FOUND", (1, 1))
    pool = simulation.pool
    bad, _ = pool
    pool.pickers()
    for _ in range(50):
        pool.failed(bad, "NOT_FOUND", FAST, 0.0)
    pool.update([endpoint(port) for port in (1, 2, 3)], 0.0)
    pool.observed(list(pool)[2], Connectivity.READY)
    picker, _ = pool.pickers()
    assert picker is not None
    picked = Counter(picker.pick() for _ in range(100))
    assert picked[bad] < 25


@pytest.mark.parametrize("policy", POLICIES)
def test_one_that_is_well_again_has_its_share_again(policy: str) -> None:
    simulation = Simulation(policy, "NOT_FOUND", (1, 1))
    simulation.share()
    simulation.failing = 0.0
    simulation.picked.clear()
    assert simulation.share() > 0.4


def test_a_backend_that_reports_its_errors_weighs_less_than_its_load_alone_says() -> None:
    """gRFC A58: a backend that fails at once is idle, and reports as much."""
    sound = LoadReport(qps=100, application_utilization=0.5)
    failing = LoadReport(qps=1000, eps=1000, application_utilization=0.05)
    assert failing.weight(1.0) / 1000 < sound.weight(1.0) / 100
