"""The one table that queries are held against: the metrics that the code exports."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from client_resolver.metrics import Prometheus
from lookaside.metrics import Metrics

SCRAPED: Final = frozenset({"namespace", "pod", "instance", "job"})
"""Labels that Prometheus adds to whatever it scrapes of a Pod."""

_SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "info": ("_info",),
    "gauge": ("",),
}


def exported() -> dict[str, frozenset[str]]:
    """Return the labels of each sample that the service and the resolver export, by its name."""
    client = CollectorRegistry()
    Prometheus(client)
    return {
        name: labels
        for registry in (Metrics("0").registry, client)
        for name, labels in _samples(registry)
    }


def _samples(registry: CollectorRegistry) -> Iterator[tuple[str, frozenset[str]]]:
    for collector in list(registry._collector_to_names):
        # A metric knows its labels before it has a child; one that is collected knows them too.
        labels = getattr(collector, "_labelnames", None)
        for family in collector.collect():
            own = labels if labels is not None else _labels_of(family)
            for suffix in _SUFFIXES[family.type]:
                extra = {"le"} if suffix == "_bucket" else set()
                yield family.name + suffix, frozenset(own) | extra


def _labels_of(family: Metric) -> frozenset[str]:
    named = frozenset(getattr(family, "_labelnames", ()))
    return named.union(*(sample.labels for sample in family.samples))
