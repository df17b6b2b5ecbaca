"""Backends as policies see them, and a clock that stands still until it is set."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from client_resolver.core.load import LoadReport


@dataclass(eq=False)
class FakeBackend:
    address: str
    weight: int = 1
    in_flight: list[None] = field(default_factory=list)
    metadata: tuple[tuple[str, str], ...] = ()
    load: LoadReport | None = None


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def backends(*weights: int) -> list[FakeBackend]:
    return [FakeBackend(f"10.0.0.{i}:50051", weight) for i, weight in enumerate(weights)]


def busy(loads: Sequence[int], weights: Sequence[int] | None = None) -> list[FakeBackend]:
    found = backends(*(weights or [1] * len(loads)))
    for backend, load in zip(found, loads, strict=True):
        backend.in_flight = [None] * load
    return found
