"""Slow start: a backend that has just become ready gets its share little by little.

Envoy's ramp: weight times max(least share, (age / window) ^ (1 / aggression)).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from client_resolver.core.fields import check, duration, number

__all__ = ["SlowStart"]

_STEPS = 20
"""In how many steps a window is gone through: a step is 5 % of a linear ramp."""


@dataclass(frozen=True, slots=True)
class SlowStart:
    """The growth of a backend's weight after it has become ready.

    It is of no use while all backends are new: they would share the load as they do without it.

    Attributes:
        window: Seconds until the full weight.
        aggression: The curve. 1: a straight line. More: fast at first. Less: slow at first.
        min_weight_percent: The share of its weight that a backend has at once, in percent.

    Raises:
        ValueError: One is out of range.
    """

    window: float
    aggression: float = 1.0
    min_weight_percent: float = 10.0

    def __post_init__(self) -> None:
        check("window", self.window, above=0, unit="s")
        check("aggression", self.aggression, above=0)
        check("minWeightPercent", self.min_weight_percent, above=0, high=100)

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the object `slowStart` of a service config.

        Raises:
            ValueError: A field is malformed or out of range, or `window` is missing.
        """
        window = duration(config, "window", None)
        if window is None:
            raise ValueError("window is missing")
        return cls(
            window,
            number(config, "aggression", 1.0),
            number(config, "minWeightPercent", 10.0),
        )

    @property
    def step(self) -> float:
        """Seconds after which the weights of backends that ramp up are to be computed again."""
        return self.window / _STEPS

    def factor(self, age: float) -> float:
        """Return what the weight of a backend is multiplied by.

        Args:
            age: Seconds since it became ready.

        Returns:
            More than 0, at most 1; 1 from the end of the window on.
        """
        if age >= self.window:
            return 1.0
        least = self.min_weight_percent / 100
        part = age / self.window
        if part <= 0:
            return least
        return max(least, min(math.pow(part, 1 / self.aggression), 1.0))
