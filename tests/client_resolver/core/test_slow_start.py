"""Slow start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_resolver.core.slow_start import SlowStart


@pytest.mark.parametrize(
    ("aggression", "age", "factor"),
    [
        (1.0, 0.0, 0.1),
        (1.0, 1.0, 0.1),
        (1.0, 5.0, 0.25),
        (1.0, 10.0, 0.5),
        (1.0, 20.0, 1.0),
        (1.0, 1000.0, 1.0),
        (2.0, 5.0, 0.5),
        (0.5, 10.0, 0.25),
        (1.0, -1.0, 0.1),
    ],
)
def test_the_weight_grows_along_the_curve(aggression: float, age: float, factor: float) -> None:
    assert SlowStart(20.0, aggression).factor(age) == pytest.approx(factor)


@given(
    window=st.floats(1e-3, 1e6),
    aggression=st.floats(1e-3, 1e3),
    least=st.floats(0.1, 100),
    ages=st.tuples(st.floats(0, 2e6), st.floats(0, 2e6)),
)
def test_the_factor_never_falls_and_stays_between_the_least_and_one(
    window: float, aggression: float, least: float, ages: tuple[float, float]
) -> None:
    slow_start = SlowStart(window, aggression, least)
    younger, older = (slow_start.factor(age) for age in sorted(ages))
    assert least / 100 <= younger <= older <= 1.0


def test_a_window_is_gone_through_in_steps_of_five_percent() -> None:
    assert SlowStart(30.0).step == pytest.approx(1.5)


def test_all_fields_are_read() -> None:
    config = {"window": "30s", "aggression": 1.5, "minWeightPercent": 20}
    assert SlowStart.parse(config) == SlowStart(30.0, 1.5, 20.0)
    assert SlowStart.parse({"window": "1.5s"}) == SlowStart(1.5, 1.0, 10.0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "^window is missing$"),
        ({"window": "0s"}, "^window is 0s: more than 0s is allowed$"),
        ({"window": 30}, "^window is 30: a duration"),
        ({"window": "1s", "aggression": 0}, "^aggression is 0: more than 0 is allowed$"),
        (
            {"window": "1s", "minWeightPercent": 101},
            "^minWeightPercent is 101: more than 0 and at most 100 is allowed$",
        ),
        ({"window": "1s", "minWeightPercent": 0}, "^minWeightPercent is 0: "),
    ],
)
def test_a_bad_field_is_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SlowStart.parse(config)
