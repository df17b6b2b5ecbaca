"""The YAML documents of the examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object, as YAML has it."""

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
_OTHERS = {"endpoints.yaml", "kind.yaml", "values.yaml"}
MANIFESTS = sorted(path for path in EXAMPLES.rglob("*.yaml") if path.name not in _OTHERS)


def label(path: Path) -> str:
    """Name a file of the examples, for the ids of tests."""
    return str(path.relative_to(EXAMPLES))


def objects(path: Path) -> list[Object]:
    """Return the objects of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def pod_specs(path: Path) -> Mapping[str, Object]:
    """Return the specs of the Pods that a file makes, by their makers' names."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in objects(path)
        if each["kind"] in {"Deployment", "StatefulSet"}
    }


def envoy_configs() -> Mapping[str, str]:
    """Return the configs of Envoy that ConfigMaps hold, by the ConfigMaps' names."""
    return {
        each["metadata"]["name"]: each["data"]["envoy.yaml"]
        for path in MANIFESTS
        for each in objects(path)
        if each["kind"] == "ConfigMap"
    }
