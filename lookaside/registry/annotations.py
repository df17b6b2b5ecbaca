"""Reading annotations: a bad one is refused alone, and the last good value of its object stays."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from lookaside.model import DEFAULT_WEIGHT, Locality
from lookaside.policy.service_config import parse_service_config
from lookaside.policy.weights import WEIGHT, WeightRule, parse_rules

_FROM_POD = f"Pod annotation {WEIGHT}"
_FROM_SLICE = f"EndpointSlice annotation {WEIGHT}"

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class RefusedAnnotation(Struct, frozen=True, gc=False, order=True):
    """An annotation that is not used.

    Attributes:
        kind: The kind of the object that has it: Service, EndpointSlice or Pod.
        namespace: The object's namespace.
        name: The object's name.
        annotation: The annotation's name.
        reason: Why it is refused.
    """

    kind: str
    namespace: str
    name: str
    annotation: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.namespace}/{self.name}: annotation {self.annotation} is refused: "
            f"{self.reason}"
        )


class Reading(Struct, Generic[T_co], frozen=True, gc=False):
    """The reading of one annotation.

    Attributes:
        value: Its value, or the last good one; None where there never was one.
        error: Why the annotation as it is now is refused; "" if it is not.
    """

    value: T_co | None = None
    error: str = ""


def read(text: str, parse: Callable[[str], T], before: Reading[T] | None = None) -> Reading[T]:
    """Read an annotation.

    Args:
        text: The annotation; "" if there is none.
        parse: Makes its value; raises ValueError with what is wrong.
        before: What the same object's annotation said last.
    """
    if not text:
        return Reading()
    try:
        return Reading(parse(text))
    except Exception as error:  # noqa: BLE001 (it may hold anything, and its parsers be others')
        reason = str(error) or type(error).__name__
        return Reading(before.value if before else None, reason)


class ServicePolicy(Struct, frozen=True, gc=False):
    """The readings of a Service's annotations."""

    weights: Reading[tuple[WeightRule, ...]] = Reading()
    service_config: Reading[str] = Reading()


def service_policy(weights: str, config: str, before: ServicePolicy | None) -> ServicePolicy:
    """Read the annotations of a Service."""
    known = before or ServicePolicy()
    return ServicePolicy(
        read(weights, parse_rules, known.weights),
        read(config, parse_service_config, known.service_config),
    )


def weigh(
    pod: Reading[int] | None,
    rules: tuple[WeightRule, ...],
    slice_: Reading[int],
    locality: Locality,
    labels: Mapping[str, str],
) -> tuple[int, WeightRule | str]:
    """Return an endpoint's weight and where it is from: a rule, or in words.

    Args:
        pod: The Pod's annotation; None where the Pod is not known.
        rules: The Service's rules.
        slice_: The EndpointSlice's annotation.
        locality: Where the endpoint runs.
        labels: The Pod's labels.
    """
    if pod is not None and pod.value is not None:
        return pod.value, _FROM_POD
    for rule in rules:
        if rule.matches(locality, labels):
            return rule.weight, rule
    if slice_.value is not None:
        return slice_.value, _FROM_SLICE
    return DEFAULT_WEIGHT, "default"


def refused_annotations(
    kind: str, namespace: str, name: str, readings: Mapping[str, Reading[object]]
) -> list[RefusedAnnotation]:
    """Return the refused ones among an object's annotations, given by their names."""
    return [
        RefusedAnnotation(kind, namespace, name, annotation, reading.error)
        for annotation, reading in readings.items()
        if reading.error
    ]
