"""The chart's files, and its values as Helm merges them."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft7Validator

Values = dict[str, Any]

CHART: Final = Path(__file__).parents[2] / "helm" / "lookaside"
FEATURES: Final = sorted((CHART / "ci").glob("*-values.yaml"))
"""The files of values, one a feature."""

PRESETS: Final = [CHART / "values-ha.yaml", *FEATURES]


def load(path: Path) -> Values:
    """Read a file of values."""
    values: Values = yaml.safe_load(path.read_text()) or {}
    return values


@cache
def defaults() -> Values:
    """Return the values of the chart as it comes."""
    return load(CHART / "values.yaml")


@cache
def schema() -> Values:
    """Return the schema of the values."""
    read: Values = json.loads((CHART / "values.schema.json").read_text())
    return read


def merged(base: Values, over: Values) -> Values:
    """Merge values as Helm does: mappings by their keys, null takes away, all else is replaced."""
    both = dict(base)
    for key, value in over.items():
        if value is None:
            both.pop(key, None)
        elif isinstance(value, dict) and isinstance(both.get(key), dict):
            both[key] = merged(both[key], value)
        else:
            both[key] = value
    return both


def errors(values: Values) -> list[str]:
    """Return what the schema says against some values, merged into the chart's own."""
    found = Draft7Validator(schema()).iter_errors(merged(defaults(), values))
    return [f"{each.json_path}: {each.message}" for each in found]
