"""Prometheus metrics of channels. Needs the extra `metrics`: prometheus-client.

```python
import client_resolver
from client_resolver.metrics import Prometheus

observer = Prometheus()
channel = client_resolver.insecure_channel("static:///127.0.0.1:50061", observers=[observer])
```

One observer serves any number of channels. What comes of RPCs is counted as it happens; all that is
a state (connections, RPCs in flight, ejections, the list's age) is read from the channels when the
metrics are scraped, and costs RPCs nothing. The multiprocess mode of prometheus-client, which keeps
numbers in files, is not for these: each process tells its own.
"""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from threading import Lock
from typing import TypeAlias

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from client_resolver.core.model import Connectivity
from client_resolver.core.snapshot import ChannelSnapshot
from client_resolver.telemetry.histogram import Latencies
from client_resolver.telemetry.observer import Attempt, Observer

__all__ = ["KEPT", "Prometheus"]

KEPT = 300.0
"""Seconds that the series of a backend stay after no channel lists it any more: as long as
Prometheus looks back. Its last RPCs are not lost, and Pods that come and go don't pile up."""

_GATHERED = 1000
"""Number of queued events after which they are added up, unless a scrape does so first."""
_PATIENCE = 1.0
"""Seconds that a scrape waits for another thread that adds up."""

_TRIES = 5
"""Number of attempts to read a state that changes meanwhile."""

_BY_ATTEMPT = ("target", "backend", "method", "code")
_BY_BACKEND = ("target", "backend")
_BY_FAILURE = ("target", "method", "code")
_BY_TARGET = ("target",)

_logger = logging.getLogger("client_resolver")

Snapshot: TypeAlias = Callable[[], ChannelSnapshot]
Labels: TypeAlias = tuple[str, ...]


class Prometheus(Observer, Collector):
    """Counts what channels do.

    Any thread may call it at any time, also a signal handler or a finaliser that interrupts another
    call of it on its own thread. So events are only queued, by one function of C, and
    added up by a scrape, or by a channel once there are many: one thread does it for all.
    Nobody waits for that but a scrape, for `_PATIENCE` at most.

    Args:
        registry: Where the metrics are registered. A registry takes one such observer.
        clock: Monotonic, in seconds: tells how long a backend has been gone.

    Raises:
        ValueError: The registry has one already.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        # prometheus-client's own counters have a lock each and cost several times as much.
        self._noted: deque[Callable[[], None]] = deque()
        self._attempts_ended: deque[tuple[Attempt, str]] = deque()
        self._rpcs_ended: deque[tuple[str, str, str, float]] = deque()
        self._adding = Lock()
        self._process = os.getpid()
        self._running: list[tuple[str, Snapshot]] = []
        self._attempts: Counter[tuple[Attempt, str]] = Counter()
        self._failures: Counter[Labels] = Counter()
        # Of backends whose series are gone: the others are in `_attempts`.
        self._retries: Counter[Labels] = Counter()
        self._hedges: Counter[Labels] = Counter()
        self._ejections: Counter[Labels] = Counter()
        self._losses: Counter[Labels] = Counter()
        self._latencies = Latencies()
        self._gone: dict[Labels, float] = {}
        registry.register(self)

    def channel_started(self, target: str, snapshot: Snapshot) -> None:
        """See `Observer.channel_started`."""
        self._running.append((target, snapshot))
        self._note(partial(self._count_start, target))

    def channel_closed(self, target: str, snapshot: Snapshot) -> None:
        """See `Observer.channel_closed`."""
        with suppress(ValueError):
            self._running.remove((target, snapshot))

    def attempt_ended(self, attempt: Attempt, code: str, seconds: float) -> None:  # noqa: ARG002
        """See `Observer.attempt_ended`."""
        self._attempts_ended.append((attempt, code))

    def rpc_ended(self, target: str, method: str, code: str, seconds: float, attempts: int) -> None:  # noqa: ARG002
        """See `Observer.rpc_ended`."""
        ended = self._rpcs_ended
        ended.append((target, method, code, seconds))
        if len(ended) >= _GATHERED:
            self._add_up()

    def ejected(self, target: str, backend: str, seconds: float, reason: str) -> None:  # noqa: ARG002
        """See `Observer.ejected`."""
        self._note(partial(_count, self._ejections, (target, backend)))

    def balancer_lost(self, target: str, reason: str) -> None:  # noqa: ARG002
        """See `Observer.balancer_lost`."""
        self._note(partial(_count, self._losses, (target,)))

    def describe(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield from self._counted()
        yield from _states([])

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        channels = [
            (target, taken)
            for target, snapshot in list(self._running)
            if (taken := _taken(target, snapshot)) is not None
        ]
        listed: set[Labels] = {
            (target, one.address) for target, channel in channels for one in channel.backends
        }
        families: list[Metric] = []

        def tell() -> None:
            for pair in listed - self._ejections.keys():
                self._ejections[pair] = 0
            self._forget(listed)
            families.extend(self._counted())

        self._add_up(tell)
        yield from families
        yield from _states(channels)

    def _note(self, what: Callable[[], None]) -> None:
        self._noted.append(what)
        if len(self._noted) >= _GATHERED:
            self._add_up()

    def _add_up(self, then: Callable[[], None] | None = None) -> None:
        """Add up what is noted, unless somebody is at it.

        Args:
            then: Done afterwards while no thread adds up; or at the same time, if another thread
                takes long or was interrupted on this thread.
        """
        if self._process != os.getpid():
            # A child that was forked while a thread of its parent's was at it.
            self._process, self._adding = os.getpid(), Lock()
        until = time.monotonic() + _PATIENCE
        while self._adding.locked():
            if then is None:
                return
            if time.monotonic() >= until:
                then()
                return
            time.sleep(_PATIENCE / 1000)
        with self._adding:
            while self._noted:
                self._noted.popleft()()
            # Counted by one function of C, by what they are noted as: a series' labels are worked
            # out at a scrape.
            ended = self._attempts_ended
            self._attempts.update(islice(iter(ended.popleft, None), len(ended)))
            while self._rpcs_ended:
                self._count_rpc(*self._rpcs_ended.popleft())
            if then is not None:
                then()

    def _count_start(self, target: str) -> None:
        # A counter that is born at 1 has no increase: rate() and increase() miss its first.
        for counts in (self._retries, self._hedges, self._losses):
            counts[(target,)] += 0

    def _count_rpc(self, target: str, method: str, code: str, seconds: float) -> None:
        self._latencies.observe((target, method), seconds)
        if code != "OK":
            self._failures[target, method, code] += 1

    def _forget(self, listed: set[Labels]) -> None:
        """Drop the series of backends that have been gone for long."""
        now = self._clock()
        known = {(one.target, one.backend) for one, _ in self._attempts} | set(self._ejections)
        self._gone = {pair: self._gone.get(pair, now) for pair in known - listed}
        over = {pair for pair, since in self._gone.items() if now - since >= KEPT}
        if over:
            for key in [key for key in self._attempts if (key[0].target, key[0].backend) in over]:
                _count_again(key[0], self._attempts.pop(key), self._retries, self._hedges)
            for pair in over:
                self._ejections.pop(pair, None)

    def _counted(self) -> Iterator[Metric]:
        attempts: Counter[Labels] = Counter()
        retries, hedges = self._retries.copy(), self._hedges.copy()
        for (one, code), number in self._attempts.items():
            attempts[one.target, one.backend, one.method, code] += number
            _count_again(one, number, retries, hedges)
        yield _counter(
            "grpc_client_requests",
            "RPC attempts on a backend that have ended.",
            _BY_ATTEMPT,
            attempts,
        )
        yield self._latencies.metric(
            "grpc_client_request_duration_seconds",
            "How long RPCs took for the application, with all waiting and all attempts.",
            ("target", "method"),
        )
        yield _counter(
            "grpc_client_failures",
            "RPCs that failed for the application.",
            _BY_FAILURE,
            self._failures,
        )
        yield _counter(
            "grpc_client_retries",
            "Attempts that were made because one had failed, and have ended.",
            _BY_TARGET,
            retries,
        )
        yield _counter(
            "grpc_client_hedges",
            "Attempts that were started beside another of the same RPC, and have ended.",
            _BY_TARGET,
            hedges,
        )
        yield _counter(
            "grpc_client_ejections",
            "How often outlier detection has ejected the backend.",
            _BY_BACKEND,
            self._ejections,
        )
        yield _counter(
            "grpc_client_balancer_losses",
            "How often the balancer, or what else lists the backends, was lost.",
            _BY_TARGET,
            self._losses,
        )


def _count(counts: Counter[Labels], key: Labels) -> None:
    counts[key] += 1


def _count_again(
    attempt: Attempt, number: int, retries: Counter[Labels], hedges: Counter[Labels]
) -> None:
    """Count `number` attempts like this one among those that weren't their RPC's first."""
    if attempt.number:
        (hedges if attempt.hedge else retries)[(attempt.target,)] += number


def _taken(target: str, snapshot: Snapshot) -> ChannelSnapshot | None:
    """Read a channel's state. One of an event loop may change meanwhile, on its own thread."""
    for _ in range(_TRIES):
        try:
            return snapshot()
        except RuntimeError:
            continue
    _logger.warning("%s: its state kept changing, so that metrics lack it this time", target)
    return None


def _states(channels: Iterable[tuple[str, ChannelSnapshot]]) -> Iterator[Metric]:
    """Make the metrics that are states. Channels of one target are added up, or the worst told.

    What the list says of a backend is the same for all, once they have the same list.
    """
    connections: Counter[Labels] = Counter()
    in_flight: Counter[Labels] = Counter()
    ejected: Counter[Labels] = Counter()
    weights: dict[Labels, float] = {}
    ages: dict[Labels, float] = {}
    sizes: dict[Labels, float] = {}
    versions: dict[Labels, float] = {}
    for target, channel in channels:
        key = (target,)
        for one in channel.backends:
            for state in Connectivity:
                connections[target, one.address, state.value] += one.connectivity is state
            in_flight[target, one.address] += one.in_flight
            ejected[target, one.address] += one.ejected_for is not None
            weights[target, one.address] = one.weight
        size = sum(not one.draining for one in channel.backends)
        sizes[key] = min(size, sizes.get(key, size))
        if channel.stale_for is not None:
            ages[key] = max(channel.stale_for, ages.get(key, 0.0))
        if channel.revision is not None:
            version = channel.revision.version
            versions[key] = min(version, versions.get(key, version))
    yield _gauge(
        "grpc_client_connection_state",
        "How many of this process's channels have the backend's connection in the state.",
        (*_BY_BACKEND, "state"),
        connections,
    )
    yield _gauge("grpc_client_in_flight", "RPCs that the backend carries.", _BY_BACKEND, in_flight)
    yield _gauge(
        "grpc_client_ejected",
        "How many of this process's channels have ejected the backend.",
        _BY_BACKEND,
        ejected,
    )
    yield _gauge(
        "grpc_client_backend_weight", "The weight that the list gives.", _BY_BACKEND, weights
    )
    yield _gauge(
        "grpc_client_list_age_seconds",
        "Seconds since the list of backends was last known to be current. 0: it is.",
        _BY_TARGET,
        ages,
    )
    yield _gauge("grpc_client_list_backends", "How many backends are listed.", _BY_TARGET, sizes)
    yield _gauge(
        "grpc_client_list_version",
        "The version of the list's revision. 0: the balancer gives none.",
        _BY_TARGET,
        versions,
    )


def _counter(
    name: str, text: str, labels: Labels, values: Mapping[Labels, float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(
    name: str, text: str, labels: Labels, values: Mapping[Labels, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
