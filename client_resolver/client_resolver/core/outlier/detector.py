"""Outlier detection: which backends are ejected, and until when."""

import math
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from random import Random

from client_resolver.core.outlier.config import (
    FailurePercentageEjection,
    OutlierDetection,
    SuccessRateEjection,
)

__all__ = ["Detector", "Host"]


class Host:
    """The counters of one backend.

    Successes are counted by whichever thread sees them, with no lock and no function of Python's:
    `next(host.successes)`, and `host.in_a_row.clear()` if that isn't empty. Each is a single step
    of C, so that no other thread and no signal handler finds it done by half. All else changes in
    `Detector` alone, whose calls are serialised.

    Attributes:
        successes: Counts the RPCs that succeeded. To read it is to count one: `ok` allows for that.
        in_a_row: One entry for each error since the last success.
        ok: How many succeeded in the interval that is being looked at.
        failed: How many RPCs of the present interval ended with an error.
    """

    __slots__ = ("_read", "failed", "in_a_row", "multiplier", "ok", "reason", "since", "successes")

    def __init__(self) -> None:
        self.successes = count()
        self._read = 0
        self.ok = 0
        self.failed = 0
        self.in_a_row: list[None] = []
        self.multiplier = 0
        self.since: float | None = None
        """When it was ejected. None: it is not."""
        self.reason = ""

    def read(self) -> None:
        """Set `ok` to the successes since the last time. What comes later is for the next time."""
        successes = next(self.successes)
        self.ok = successes - self._read
        self._read = successes + 1


class Detector:
    """Watches what RPCs come to, and says which backends get none for a while.

    gRFC A50, and in addition Envoy's consecutive errors: a backend that fails a number of
    RPCs in a row is ejected at once, not at the next sweep. Where A50 leaves room:

    * An ejected backend is not ejected again: what its last RPCs come to, or those that it gets in
      a panic, prolongs nothing.
    * The interval between sweeps begins with the first RPC after a time in which there was nothing
      to sweep, so that a channel that rests wakes up for nothing.
    * An ejection is over at the first sweep that is not before its end.

    As A50 has it, a further backend is ejected while less than the maximum percentage is. So one
    may be, of however few, unless the maximum is 0.

    Args:
        config: What is looked for.
        rng: The source of the draws against the enforcement percentages.

    Attributes:
        resting: The next RPC that ends begins an interval: `begin` is to be called.
    """

    __slots__ = ("_config", "_ejected", "_hosts", "_rng", "_started", "_window", "resting")

    def __init__(self, config: OutlierDetection, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._hosts: dict[str, Host] = {}
        self._ejected = 0
        self._started: float | None = None
        # Whether RPCs are counted for the sweeps: the algorithms that need it are on.
        self._window = self.resting = _sweeps(config)

    @property
    def config(self) -> OutlierDetection:
        """What is looked for."""
        return self._config

    @property
    def wake_at(self) -> float | None:
        """When the next sweep is due. None: there is nothing to sweep."""
        return None if self._started is None else self._started + self._config.interval

    def configure(self, config: OutlierDetection) -> bool:
        """Look for something else from now on. Return whether who is ejected has changed.

        What is ejected stays so, for as long as the new config says. With a config that ejects
        nothing, all are back.
        """
        if config.counts and not self._config.counts:
            self._start_over()
        self._config = config
        before, self._window = self._window, _sweeps(config)
        if self._window and not before:
            for host in self._hosts.values():
                # What succeeded until now was for no sweep.
                host.read()
        self._rest()
        if config.counts:
            return False
        changed = self._ejected > 0
        self._start_over()
        return changed

    def keep(self, addresses: Collection[str]) -> None:
        """The list of backends changed: removed ones are forgotten, new ones start clean."""
        hosts = self._hosts
        self._hosts = {address: hosts.get(address) or Host() for address in addresses}
        self._ejected = sum(host.since is not None for host in self._hosts.values())

    def host(self, address: str) -> Host | None:
        """Return where the successes of a backend are counted. None: it is not in the list."""
        return self._hosts.get(address)

    def begin(self, now: float) -> None:
        """Begin an interval, if none has begun: RPCs are counted again."""
        if self._started is None:
            self._started = now
            self.resting = False

    def ended(self, address: str, ok: bool, now: float) -> bool:
        """An RPC ended.

        Args:
            address: The backend that it was on. One that is not in the list is ignored.
            ok: It did not end with an error in the sense of the config.
            now: The time.

        Returns:
            Whether the backend has been ejected just now.
        """
        host = self._hosts.get(address)
        if host is None:
            return False
        if self.resting:
            self.begin(now)
        if ok:
            next(host.successes)
            host.in_a_row.clear()
            return False
        if self._window:
            host.failed += 1
        host.in_a_row.append(None)
        errors = len(host.in_a_row)
        limit = self._config.consecutive_errors
        if limit is None or errors < limit or host.since is not None or self._full():
            return False
        self.begin(now)
        self._eject(host, now, f"{errors} errors in a row")
        return True

    def sweep(self, now: float) -> bool:
        """Do what is due at the end of an interval, if it has ended.

        Returns:
            Whether who is ejected has changed.
        """
        due = self.wake_at
        if due is None or now < due:
            return False
        before = [host.since is not None for host in self._hosts.values()]
        for host in self._hosts.values():
            host.read()
        if self._config.success_rate is not None:
            self._by_success_rate(self._config.success_rate, now)
        if self._config.failure_percentage is not None:
            self._by_failure_percentage(self._config.failure_percentage, now)
        busy = False
        for host in self._hosts.values():
            busy = busy or (self._window and host.ok + host.failed > 0)
            host.failed = 0
            if host.since is None:
                host.multiplier = max(host.multiplier - 1, 0)
            elif now >= self._until(host):
                self._return(host)
        busy = busy or any(host.multiplier for host in self._hosts.values())
        self._started = now if busy else None
        self._rest()
        return before != [host.since is not None for host in self._hosts.values()]

    def ejected(self, address: str) -> bool:
        """Say whether the backend is ejected."""
        host = self._hosts.get(address)
        return host is not None and host.since is not None

    def ejections(self) -> Mapping[str, float]:
        """Return who is ejected, each with the time of its end: the first sweep from then on."""
        if not self._ejected:
            return {}
        return {
            address: self._until(host)
            for address, host in self._hosts.items()
            if host.since is not None
        }

    def reason(self, address: str) -> str:
        """Say why the backend is ejected. Empty: it is not."""
        host = self._hosts.get(address)
        return "" if host is None else host.reason

    def _by_success_rate(self, settings: SuccessRateEjection, now: float) -> None:
        considered = list(self._with_volume(settings.request_volume))
        if not considered or len(considered) < settings.minimum_hosts:
            return
        rates = [host.ok / (host.ok + host.failed) for host in considered]
        mean = math.fsum(rates) / len(rates)
        deviation = math.sqrt(math.fsum((rate - mean) ** 2 for rate in rates) / len(rates))
        least = mean - deviation * (settings.stdev_factor / 1000)
        for host, rate in zip(considered, rates, strict=True):
            if self._full():
                return
            if rate < least and host.since is None and self._drawn(settings.enforcement_percentage):
                self._eject(host, now, f"success rate {rate:.1%}, less than {least:.1%}")

    def _by_failure_percentage(self, settings: FailurePercentageEjection, now: float) -> None:
        considered = list(self._with_volume(settings.request_volume))
        if len(considered) < settings.minimum_hosts:
            return
        for host in considered:
            if self._full():
                return
            total = host.ok + host.failed
            too_many = host.failed * 100 > settings.threshold * total
            if too_many and host.since is None and self._drawn(settings.enforcement_percentage):
                self._eject(
                    host, now, f"failed {host.failed} of {total} RPCs, over {settings.threshold}%"
                )

    def _with_volume(self, volume: int) -> Iterator[Host]:
        least = max(volume, 1)
        return (host for host in self._hosts.values() if host.ok + host.failed >= least)

    def _drawn(self, percentage: int) -> bool:
        return self._rng.randrange(100) < percentage

    def _full(self) -> bool:
        return self._ejected * 100 >= self._config.max_ejection_percent * len(self._hosts)

    def _eject(self, host: Host, now: float, reason: str) -> None:
        host.since = now
        host.multiplier += 1
        host.reason = reason
        self._ejected += 1

    def _return(self, host: Host) -> None:
        host.since = None
        host.reason = ""
        host.in_a_row.clear()
        self._ejected -= 1

    def _until(self, host: Host) -> float:
        config = self._config
        longest = max(config.base_ejection_time, config.max_ejection_time)
        return (host.since or 0.0) + min(config.base_ejection_time * host.multiplier, longest)

    def _start_over(self) -> None:
        self._hosts = {address: Host() for address in self._hosts}
        self._ejected = 0
        self._started = None
        self._rest()

    def _rest(self) -> None:
        self.resting = self._window and self._started is None


def _sweeps(config: OutlierDetection) -> bool:
    return config.success_rate is not None or config.failure_percentage is not None
