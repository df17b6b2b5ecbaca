"""Builds a channel's pickers: who may be picked, with what weight, at what priority."""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.backend import Backend
from client_resolver.core.building import Build, Staged
from client_resolver.core.config import PoolConfig
from client_resolver.core.filtering_picker import FilteringPicker
from client_resolver.core.guard import Guard
from client_resolver.core.picker import CountingFailures, Picker, Reporting
from client_resolver.core.priority_picker import Level, PriorityPicker
from client_resolver.core.serial_picker import serial

__all__ = ["PickerBuilder", "reweigh", "select"]

H = TypeVar("H")

_SCALE = 100
"""Factor of all weights while one of them is less than in the list."""


def select(ready: list[Backend[H]], panic_threshold: int) -> tuple[list[Backend[H]], bool]:
    """Leave the ejected backends out, unless there would be too few left.

    Args:
        ready: The backends that are ready.
        panic_threshold: In percent of `ready`: if fewer are not ejected, ejections are ignored.

    Returns:
        The backends to pick from, none only if `ready` has none; and whether ejected ones are among
        them.
    """
    well = [backend for backend in ready if backend.ejected_until is None]
    if len(well) == len(ready):
        return ready, False
    if not well or len(well) * 100 < panic_threshold * len(ready):
        return ready, True
    return well, False


def reweigh(backends: Sequence[Backend[H]], config: PoolConfig, now: float) -> float | None:
    """Set the weights that backends are picked with.

    Returns:
        In how many seconds they are to be set again, since some backends are warming up. None: not
        before something changes.
    """
    slow = config.slow_start
    factors = (
        {}
        if slow is None
        else {backend: slow.factor(_age(backend, now)) for backend in backends if backend.late}
    )
    if slow is None or all(factor == 1 for factor in factors.values()):
        for backend in backends:
            backend.weight = backend.endpoint.weight
    else:
        for backend in backends:
            weight = backend.endpoint.weight * _SCALE * factors.get(backend, 1.0)
            backend.weight = max(1, round(weight))
    warming = slow is not None and any(
        backend.ready_since is not None and _age(backend, now) < slow.window for backend in factors
    )
    return slow.step if slow is not None and warming else None


class PickerBuilder(Generic[H]):
    """One picker after another; each may learn from the one before.

    A picker that takes long to build is built in steps by the channel's shell, and the one before
    picks among the backends of the moment until then.

    Any thread may pick at any time. The owner serialises all calls of the line itself.

    Args:
        rng: Handed to the policies.
        now: The clock, handed to the policies.

    Attributes:
        picker: The present one. None: there is nothing to pick, or the first is being built.
        builds: Those that are being built, by level.
        reporting: The present picker, if it wants reports of RPCs that succeed.
    """

    def __init__(self, rng: Random, now: Callable[[], float]) -> None:
        self._rng = rng
        self._now = now
        self._guard = Guard()
        self._levels: dict[int, _Built[H]] = {}
        self.builds: dict[int, Build[Backend[H]]] = {}
        self.picker: Picker[Backend[H]] | None = None
        self.reporting: Reporting | None = None
        self._counting: CountingFailures | None = None

    def renew(
        self, config: PoolConfig, chosen: Sequence[Backend[H]], usable: Sequence[Backend[H]]
    ) -> None:
        """Build the next picker, or begin to.

        Args:
            config: Has the policy and the priorities.
            chosen: What to pick from.
            usable: All that could be picked from if they were well, `chosen` among them: by them,
                priorities see how much of a level is available.
        """
        known = chosen
        if config.policy.keyed:
            picked = set(chosen)
            known = [backend for backend in usable if backend.opened or backend in picked]
        if not chosen:
            self.builds = {}
            self.picker = None
        elif config.priorities is None:
            self._build_all(config, {0: known})
            self.picker = self._levels[0].over(chosen) if self._levels else None
        else:
            self.picker = self._by_level(config, chosen, known, usable)
        # Asked once: to look for a protocol's methods takes longer than to call one.
        picker: object = self.picker
        self.reporting = picker if isinstance(picker, Reporting) else None
        self._counting = picker if isinstance(picker, CountingFailures) else None

    def built(self, build: Build[Backend[H]]) -> bool:
        """All steps of a build are done. Return whether it was one of `builds`."""
        for level, one in self.builds.items():
            if one is build and build.picker is not None:
                del self.builds[level]
                # Backends may have changed since: then it serves until the next one is built.
                self._levels[level] = self._ready(build.picker, build.backends)
                return True
        return False

    def failed(self, backend: Backend[H], seconds: float, *, overload: bool) -> None:
        """Tell the picker that an RPC has failed, if it wants to know."""
        if self._counting is not None:
            self._counting.failed(backend, seconds, overload=overload)
        elif self.reporting is not None:
            self.reporting.ended(backend, seconds, not overload)

    def _by_level(
        self,
        config: PoolConfig,
        chosen: Sequence[Backend[H]],
        known: Sequence[Backend[H]],
        usable: Sequence[Backend[H]],
    ) -> Picker[Backend[H]] | None:
        assert config.priorities is not None  # noqa: S101
        count = config.priorities.count
        members, homes, all_ = (_sorted_out(those, count) for those in (chosen, known, usable))
        shares = config.priorities.shares(
            [(len(those), len(total)) for those, total in zip(members, all_, strict=True)]
        )
        self._build_all(config, {at: homes[at] for at, those in enumerate(members) if those})
        levels = [
            Level(built.over(members[level]), shares[level], members[level])
            for level, built in self._levels.items()
        ]
        if len(levels) == 1:
            return levels[0].picker
        # Where those of a share are being built, the others carry all until they are.
        if levels and not any(level.share for level in levels):
            levels = [replace(level, share=1.0) for level in levels]
        return PriorityPicker(levels, self._rng, keyed=config.policy.keyed) if levels else None

    def _build_all(self, config: PoolConfig, homes: Mapping[int, Sequence[Backend[H]]]) -> None:
        """Build the picker of each level, or begin to."""
        self.builds = {level: build for level, build in self.builds.items() if level in homes}
        found = {level: self._build(config, level, those) for level, those in homes.items()}
        self._levels = {level: built for level, built in found.items() if built is not None}

    def _build(
        self, config: PoolConfig, level: int, backends: Sequence[Backend[H]]
    ) -> "_Built[H] | None":
        """Return what picks at a level from now on. None: the first picker is being built."""
        built = self._levels.get(level)
        before = None if built is None else built.picker
        policy = config.policy

        def failed(error: Exception) -> Picker[Backend[H]]:
            return _Unbuilt(policy.name, error)

        try:
            if isinstance(policy, Staged):
                started = policy.build_in_steps(backends, before)
            else:
                # Held, for it may read what a thread that picks is changing.
                build = partial(policy.build, backends, self._rng, self._now, before)
                started = self._guard.run(build, build)
        except Exception as error:  # noqa: BLE001 (the policy may be a user's)
            started = failed(error)
        if not isinstance(started, Generator):
            self.builds.pop(level, None)
            return self._ready(started, tuple(backends))
        # One that is being built is finished, whatever has changed meanwhile: or there might be no
        # end to it.
        if level not in self.builds:
            self.builds[level] = Build(started, backends, failed)
        return built

    def _ready(self, picker: Picker[Backend[H]], backends: tuple[Backend[H], ...]) -> "_Built[H]":
        return _Built(picker, serial(picker, backends, self._guard), backends)


@dataclass(frozen=True, slots=True)
class _Built(Generic[H]):
    """A picker, the same as it may be called at any time, and the backends that it knows."""

    picker: Picker[Backend[H]]
    shared: Picker[Backend[H]]
    backends: tuple[Backend[H], ...]

    def over(self, chosen: Sequence[Backend[H]]) -> Picker[Backend[H]]:
        """Have it pick among those that are chosen alone."""
        absent = set(self.backends).difference(chosen)
        return FilteringPicker(self.shared, chosen, absent) if absent else self.shared


class _Unbuilt(Generic[H]):
    """Stands for a picker that its policy could not build: no RPC can be placed."""

    concurrent: ClassVar[bool] = True

    def __init__(self, name: str, error: Exception) -> None:
        self._text = f"the policy {name!r} could not build a picker: {error!r}"

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> Backend[H]:  # noqa: ARG002
        raise RuntimeError(self._text)


def _sorted_out(backends: Sequence[Backend[H]], count: int) -> list[list[Backend[H]]]:
    levels: list[list[Backend[H]]] = [[] for _ in range(count)]
    for backend in backends:
        levels[backend.level].append(backend)
    return levels


def _age(backend: Backend[H], now: float) -> float:
    return 0.0 if backend.ready_since is None else now - backend.ready_since
