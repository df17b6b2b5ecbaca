import pytest

from lookaside.model import Locality
from lookaside.policy.weights import WeightRule, parse_weight
from lookaside.registry.annotations import (
    Reading,
    RefusedAnnotation,
    ServicePolicy,
    read,
    refused_annotations,
    service_policy,
    weigh,
)

BAD = "'ten' is not a whole number from 0 to 1000000"


@pytest.mark.parametrize(
    ("text", "before", "expected"),
    [
        ("", None, Reading()),
        ("", Reading(5), Reading()),
        ("7", None, Reading(7)),
        ("7", Reading(5, "was bad"), Reading(7)),
        ("ten", None, Reading(None, BAD)),
        ("ten", Reading(5), Reading(5, BAD)),
        ("ten", Reading(5, "was bad"), Reading(5, BAD)),
    ],
)
def test_a_bad_annotation_is_refused_and_the_last_good_value_stays(
    text: str, before: Reading[int] | None, expected: Reading[int]
) -> None:
    assert read(text, parse_weight, before) == expected


def test_one_bad_annotation_of_a_service_leaves_the_other_alone() -> None:
    first = service_policy("[{weight: 5}]", "{}", None)
    assert first == ServicePolicy(Reading((WeightRule(5),)), Reading("{}"))
    second = service_policy("[{weight: -5}]", '{"loadBalancingPolicy":"random"}', first)
    assert second.weights.value == (WeightRule(5),)
    assert "weight -5 of rule 1" in second.weights.error
    assert second.service_config == Reading('{"loadBalancingPolicy":"random"}')


RULES = (WeightRule(30, {"version": "v2"}), WeightRule(40, zone="a"), WeightRule(41, zone="a"))
POD, SLICE, NONE = Reading(10), Reading(20), Reading[int]()


@pytest.mark.parametrize(
    ("pod", "rules", "slice_", "labels", "expected"),
    [
        (POD, RULES, SLICE, {"version": "v2"}, (10, "Pod annotation lookaside.dev/weight")),
        (Reading(0), RULES, SLICE, {}, (0, "Pod annotation lookaside.dev/weight")),
        (Reading(10, "is bad now"), (), SLICE, {}, (10, "Pod annotation lookaside.dev/weight")),
        (NONE, RULES, SLICE, {"version": "v2"}, (30, RULES[0])),
        (None, RULES, SLICE, {}, (40, RULES[1])),
        (Reading(None, "bad"), RULES[:1], SLICE, {}, (20, "EndpointSlice annotation lookaside.")),
        (None, (), Reading(0), {}, (0, "EndpointSlice annotation lookaside.dev/weight")),
        (None, (), NONE, {}, (100, "default")),
    ],
)
def test_the_weight_nearest_to_the_endpoint_counts(
    pod: Reading[int] | None,
    rules: tuple[WeightRule, ...],
    slice_: Reading[int],
    labels: dict[str, str],
    expected: tuple[int, WeightRule | str],
) -> None:
    weight, origin = weigh(pod, rules, slice_, Locality("a"), labels)
    assert weight == expected[0]
    assert str(origin).startswith(str(expected[1]))
    assert isinstance(origin, type(expected[1]))


def test_a_refusal_names_object_annotation_and_reason() -> None:
    found = refused_annotations(
        "Pod", "shop", "greeter-1", {"x": Reading(5), "y": Reading(5, "it is bad")}
    )
    assert found == [RefusedAnnotation("Pod", "shop", "greeter-1", "y", "it is bad")]
    assert str(found[0]) == "Pod shop/greeter-1: annotation y is refused: it is bad"
