import pytest

from lookaside.model import Locality
from lookaside.policy.weights import WeightRule, parse_rules, parse_weight


@pytest.mark.parametrize(
    ("text", "weight"), [("0", 0), ("1", 1), (" 50\n", 50), ("1000000", 1_000_000), ("007", 7)]
)
def test_a_weight_is_a_whole_number(text: str, weight: int) -> None:
    assert parse_weight(text) == weight


@pytest.mark.parametrize(
    "text", ["", " ", "ten", "-1", "1.5", "1e3", "1000001", "0x10", "٣", "1 2", "9" * 5_000]
)
def test_what_is_no_weight_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"whole number from 0 to 1000000|Exceeds the limit"):
        parse_weight(text)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("[]", ()),
        ("- {weight: 5}", (WeightRule(5),)),
        ("- {weight: +5, zone: no}", (WeightRule(5, zone="no"),)),
        ("- {weight: 5, labels: {v: 1:2:3}}", (WeightRule(5, {"v": "1:2:3"}),)),
        ("- {weight: 5, labels: {day: 2020-01-01}}", (WeightRule(5, {"day": "2020-01-01"}),)),
        ('[{"weight": 5, "zone": "a"}]', (WeightRule(5, zone="a"),)),
        (
            "- labels: {version: v2}\n  weight: 10\n- {node: n1, weight: 0}",
            (WeightRule(10, {"version": "v2"}), WeightRule(0, node="n1")),
        ),
    ],
)
def test_rules_are_read_as_yaml_and_as_json(text: str, rules: tuple[WeightRule, ...]) -> None:
    assert parse_rules(text) == rules


BAD_RULES = {
    "weight: 5": "Expected `array`, got `object`",
    "- 5": r"Expected `object`, got `int` - at `\$\[0\]`",
    "- {zone: a}": r"missing required field `weight` - at `\$\[0\]`",
    "- {weight: 5}\n- {weight: ten}": r"got `str` - at `\$\[1\].weight`",
    "- {weight: 5}\n- {weight: -1}": "weight -1 of rule 2 is not 0 to 1000000",
    "- {weight: 1000001}": "weight 1000001 of rule 1",
    "- {weight: 5, lable: {a: b}}": r"unknown field `lable` - at `\$\[0\]`",
    "- {weight: 5, labels: {version: 2}}": r"Expected `str`, got `int` - at `\$\[0\].labels",
    "- {weight: 5": "line 1, column",
    "\tno": "line 1, column 1",
    "- &a {weight: 5}\n- *a": "anchors and aliases are not allowed",
    "- !!int ''": "tags are not allowed",
    "- !!timestamp x": "tags are not allowed",
    "- {weight: !!bool x}": "tags are not allowed",
    "[[[[]]]]": "nested deeper than 3 levels",
    "[" * 16_000: "nested deeper than 3 levels",
    "#" * 16_385: "longer than 16384 bytes",
    "- {weight: 1}\n" * 101: "101 rules; at most 100",
    "- {weight: 2020-13-45}": r"got `str` - at `\$\[0\].weight`",
    "- {weight: 1:2:3}": r"got `str` - at `\$\[0\].weight`",
    "- {weight: 010}": r"got `str` - at `\$\[0\].weight`",
    "- {weight: 0x10}": r"got `str` - at `\$\[0\].weight`",
    "- {weight: 1_000}": r"got `str` - at `\$\[0\].weight`",
    "- {weight: 1.5}": r"got `float` - at `\$\[0\].weight`",
    "- {weight: yes}": r"got `str` - at `\$\[0\].weight`",
    "- {weight: true}": r"got `bool` - at `\$\[0\].weight`",
    "- {weight: ~}": r"got `null` - at `\$\[0\].weight`",
    "- {weight: 5, weight: 6}": "the key 'weight' stands a second time in line 1",
    '[{"weight": 5, "labels": {"a": "b", "a": "c"}}]': "the key 'a' stands a second time",
    "- {weight: 5}\n- {}: 50}": "a list or mapping stands as a key in line 2",
    "- {weight: 5, {}: 50}": "a list or mapping stands as a key in line 1",
    "- {weight: 5}\n- {? [a] : 50}": "a list or mapping stands as a key in line 2",
    "- {weight: 5, <<: {weight: 6}}": "unknown field `<<`",
    "": "Expected `array`, got `null`",
}


@pytest.mark.parametrize("text", BAD_RULES)
def test_rules_that_are_none_are_refused_with_the_place(text: str) -> None:
    with pytest.raises(ValueError, match=BAD_RULES[text]):
        parse_rules(text)


@pytest.mark.parametrize(
    ("rule", "matches", "shown"),
    [
        (WeightRule(1), True, "every endpoint"),
        (WeightRule(1, zone="a"), True, "zone a"),
        (WeightRule(1, zone="b"), False, "zone b"),
        (WeightRule(1, node="n1"), True, "node n1"),
        (WeightRule(1, node="n2"), False, "node n2"),
        (WeightRule(1, {"v": "1"}), True, "v=1"),
        (WeightRule(1, {"v": "2"}), False, "v=2"),
        (WeightRule(1, {"v": "1", "team": ""}), False, "team=, v=1"),
        (WeightRule(1, {"v": "1"}, "a", "n1"), True, "v=1, zone a, node n1"),
        (WeightRule(1, {"v": "1"}, "b", "n1"), False, "v=1, zone b, node n1"),
    ],
)
def test_a_rule_matches_where_each_of_its_conditions_holds(
    rule: WeightRule, matches: bool, shown: str
) -> None:
    assert rule.matches(Locality("a", "n1"), {"v": "1", "app": "greeter"}) is matches
    assert str(rule) == shown
