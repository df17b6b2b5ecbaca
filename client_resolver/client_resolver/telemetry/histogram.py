"""A histogram of latencies for Prometheus, cheap to add to. Needs the extra `metrics`."""

import math
from bisect import bisect_left

from prometheus_client.core import HistogramMetricFamily

__all__ = ["BUCKETS", "Latencies"]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds. One more has no bound."""


class Latencies:
    """Latencies by labels. Not thread-safe: its owner serialises all calls."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, key: tuple[str, ...], seconds: float) -> None:
        """Add one."""
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = [0] * (len(BUCKETS) + 1)
            self._sums[key] = 0.0
        counts[bisect_left(BUCKETS, seconds)] += 1
        self._sums[key] += seconds

    def metric(self, name: str, text: str, labels: tuple[str, ...]) -> HistogramMetricFamily:
        """Return them as Prometheus has them: each bucket with all that are below it."""
        family = HistogramMetricFamily(name, text, labels=labels)
        for key, counts in self._counts.items():
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*BUCKETS, math.inf), counts, strict=True):
                total += count
                buckets.append((_bound(bound), total))
            family.add_metric(key, buckets, self._sums[key])
        return family


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == math.inf else str(seconds)
