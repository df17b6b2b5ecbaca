"""What a PromQL query names: its metrics, each with the labels that the query wants of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import promql_parser as promql

from tests.chart.exported import SCRAPED

_JOINS: Final = (promql.LabelModifierType.Include,)
_PICKS: Final = frozenset({"topk", "bottomk"})
"""Aggregations that give some of the series as they are."""


@dataclass(frozen=True)
class Use:
    """A metric in a query.

    Attributes:
        metric: Its name.
        labels: The labels by which it is selected, grouped or joined.
    """

    metric: str
    labels: frozenset[str]


def uses(query: str) -> list[Use]:
    """Return the metrics that a query names.

    Raises:
        ValueError: It is no PromQL, or selects a metric without its name.
    """
    return list(_uses(promql.parse(query), frozenset()))


def misnamed(query: str, exported: dict[str, frozenset[str]]) -> list[str]:
    """Return what a query names that isn't exported: metrics, and labels as METRIC{LABEL}."""
    wrong = []
    for use in uses(query):
        if use.metric not in exported:
            wrong.append(use.metric)
            continue
        lacking = use.labels - exported[use.metric] - SCRAPED
        wrong += [f"{use.metric}{{{label}}}" for label in sorted(lacking)]
    return wrong


def grouped_by(query: str) -> frozenset[str]:
    """Return the labels that a query's result is grouped by; none where it is not grouped."""
    return _grouped_by(promql.parse(query))


def _uses(node: promql.Expr, wanted: frozenset[str]) -> Iterator[Use]:
    match node:
        case promql.AggregateExpr():
            by = frozenset(node.modifier.labels) if node.modifier else frozenset()
            # What an outer aggregation wants must be what an inner one keeps.
            yield from _uses(node.expr, wanted | by)
        case promql.BinaryExpr():
            on = _joined_on(node)
            yield from _uses(node.lhs, wanted | on)
            yield from _uses(node.rhs, on)
        case promql.Call():
            for argument in node.args:
                yield from _uses(argument, wanted)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _uses(node.expr, wanted)
        case promql.MatrixSelector():
            yield from _uses(node.vector_selector, wanted)
        case promql.VectorSelector():
            if not node.name:
                raise ValueError(f"{node} names no metric")
            matched = {matcher.name for matcher in node.matchers.matchers}
            yield Use(node.name, wanted | matched)
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            raise ValueError(f"{type(node).__name__} is not known")


def _joined_on(node: promql.BinaryExpr) -> frozenset[str]:
    modifier = node.modifier
    if modifier is None or modifier.matching is None or modifier.matching.type not in _JOINS:
        return frozenset()
    return frozenset(modifier.matching.labels)


def _grouped_by(node: promql.Expr) -> frozenset[str]:
    match node:
        case promql.AggregateExpr() if str(node.op) in _PICKS:
            return _grouped_by(node.expr)
        case promql.AggregateExpr():
            return frozenset(node.modifier.labels) if node.modifier else frozenset()
        case promql.BinaryExpr():
            return _grouped_by(node.lhs)
        case promql.ParenExpr():
            return _grouped_by(node.expr)
        case promql.Call():
            labels = frozenset[str]().union(*(_grouped_by(each) for each in node.args))
            return labels - {"le"}
    return frozenset()
