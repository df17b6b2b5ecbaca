"""A picker over the pickers of several levels; each level gets exactly its share."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, Protocol, TypeVar

import xxhash

from client_resolver.core.fair_schedule import FairSchedule

__all__ = ["Level", "PriorityPicker"]

B = TypeVar("B", bound=Hashable)
B_co = TypeVar("B_co", covariant=True)

_PARTS = 2**30
"""In how many parts shares are given out."""


class _Picks(Protocol[B_co]):
    def pick(self, key: int = 0, tried: Collection[object] = ()) -> B_co: ...


@dataclass(frozen=True, slots=True)
class Level(Generic[B]):
    """One level of priority.

    Attributes:
        picker: Picks among its backends.
        share: The part of the RPCs that it gets, from 0 to 1. 0: none but what was tried on all
            backends of the others.
        backends: The backends that `picker` picks from.
    """

    picker: _Picks[B]
    share: float
    backends: Sequence[B]


class PriorityPicker(Generic[B]):
    """Picks a level, and has its picker pick the backend.

    Levels come in the order of `core.fair_schedule`: none is ever off its share by a pick.
    RPCs with a key are assigned by the key instead: one key stays with one level while the
    shares do not change.

    Args:
        levels: At least one of a share above 0. What the shares sum to is all RPCs.
        rng: The source of the starting point.
        keyed: The pickers use the key.

    Attributes:
        levels: What it was built from.
    """

    __slots__ = ("_active", "_keyed", "_next", "_shares", "_told", "_told_failures", "levels")

    def __init__(self, levels: Sequence[Level[B]], rng: Random, *, keyed: bool = False) -> None:
        self.levels = tuple(levels)
        self._active = [level for level in self.levels if level.share > 0]
        total = sum(level.share for level in self._active)
        self._shares = [level.share / total for level in self._active]
        self._keyed = keyed
        weights = [max(1, round(share * _PARTS)) for share in self._shares]
        self._next = FairSchedule(range(len(weights)), weights, rng).take
        self._told = {
            backend: ended
            for level in self.levels
            if (ended := getattr(level.picker, "ended", None)) is not None
            for backend in level.backends
        }
        self._told_failures = {
            backend: failed
            for level in self.levels
            if (failed := getattr(level.picker, "failed", None)) is not None
            for backend in level.backends
        }

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> B:
        """Return the backend for the next RPC. Never waits, never fails.

        Args:
            key: The RPC's hash, 64 bits, for keyed policies.
            tried: The backends that it was tried on: another is returned where there is one, of
                another level if need be.
        """
        level = self._by_key(key) if self._keyed else self._active[self._next()]
        backend = level.picker.pick(key, tried)
        if backend in tried:
            for other in self.levels:
                if other is not level and any(one not in tried for one in other.backends):
                    return other.picker.pick(key, tried)
        return backend

    def ended(self, backend: B, seconds: float, ok: bool) -> None:
        """Tell the picker of the backend's level what has become of an RPC."""
        told = self._told.get(backend)
        if told is not None:
            told(backend, seconds, ok)

    def failed(self, backend: B, seconds: float, *, overload: bool) -> None:
        """Tell the picker of the backend's level that an RPC has failed."""
        told = self._told_failures.get(backend)
        if told is not None:
            told(backend, seconds, overload=overload)
        else:
            self.ended(backend, seconds, not overload)

    def _by_key(self, key: int) -> Level[B]:
        # Hashed again: by the key itself, a level would see but one arc of its ring.
        place = xxhash.xxh64_intdigest(key.to_bytes(8, "little")) / 2**64
        for level, share in zip(self._active[:-1], self._shares, strict=False):
            place -= share
            if place < 0:
                return level
        return self._active[-1]
