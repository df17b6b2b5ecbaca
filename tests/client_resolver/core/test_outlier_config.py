"""The settings of outlier detection."""

from dataclasses import fields

import pytest

from client_resolver.core.outlier import (
    FailurePercentageEjection,
    OutlierDetection,
    SuccessRateEjection,
)


def test_every_default_is_that_of_a50() -> None:
    parsed = OutlierDetection.parse({"successRateEjection": {}, "failurePercentageEjection": {}})
    assert (parsed.interval, parsed.base_ejection_time, parsed.max_ejection_time) == (10, 30, 300)
    assert parsed.max_ejection_percent == 10
    assert parsed.success_rate == SuccessRateEjection(1900, 100, 5, 100)
    assert parsed.failure_percentage == FailurePercentageEjection(85, 100, 5, 50)
    assert parsed.consecutive_errors is None


def test_an_empty_object_is_the_record_of_defaults() -> None:
    assert OutlierDetection.parse({}) == OutlierDetection()
    assert SuccessRateEjection.parse({}) == SuccessRateEjection()
    assert FailurePercentageEjection.parse({}) == FailurePercentageEjection()


def test_all_fields_are_read() -> None:
    parsed = OutlierDetection.parse(
        {
            "interval": "1.5s",
            "baseEjectionTime": "2s",
            "maxEjectionTime": "3s",
            "maxEjectionPercent": 50,
            "successRateEjection": {
                "stdevFactor": 1000,
                "enforcementPercentage": 90,
                "minimumHosts": 3,
                "requestVolume": 10,
            },
            "failurePercentageEjection": {
                "threshold": 60,
                "enforcementPercentage": 80,
                "minimumHosts": 2,
                "requestVolume": 20,
            },
            "consecutiveErrors": 5,
            "errorCodes": ["unavailable", 13],
        }
    )
    assert parsed == OutlierDetection(
        interval=1.5,
        base_ejection_time=2.0,
        max_ejection_time=3.0,
        max_ejection_percent=50,
        success_rate=SuccessRateEjection(1000, 90, 3, 10),
        failure_percentage=FailurePercentageEjection(60, 80, 2, 20),
        consecutive_errors=5,
        error_codes=frozenset({"UNAVAILABLE", "INTERNAL"}),
    )
    assert not any(getattr(parsed, one.name) == one.default for one in fields(parsed))


def test_the_longest_ejection_is_no_shorter_than_the_base_unless_it_is_said() -> None:
    assert OutlierDetection.parse({"baseEjectionTime": "600s"}).max_ejection_time == 600
    said = OutlierDetection.parse({"baseEjectionTime": "600s", "maxEjectionTime": "5s"})
    assert said.max_ejection_time == 5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"interval": "0s"}, "^interval is 0s: more than 0s is allowed$"),
        ({"interval": 10}, "^interval is 10: a duration"),
        ({"baseEjectionTime": "-1s"}, "^baseEjectionTime is -1s: at least 0s is allowed$"),
        ({"maxEjectionTime": "-1s"}, "^maxEjectionTime is -1s: at least 0s is allowed$"),
        (
            {"maxEjectionPercent": 101},
            "^maxEjectionPercent is 101: at least 0 and at most 100 is allowed$",
        ),
        ({"consecutiveErrors": 0}, "^consecutiveErrors is 0: at least 1 "),
        ({"errorCodes": ["OK"]}, "^errorCodes has 'OK': a success is no error$"),
        ({"errorCodes": ["TEAPOT"]}, "^errorCodes has 'TEAPOT': one of OK, "),
        ({"successRateEjection": 1}, "^successRateEjection is 1: an object is wanted$"),
        (
            {"successRateEjection": {"enforcementPercentage": 101}},
            r"^successRateEjection\.enforcementPercentage is 101: at least 0 and at most 100 is",
        ),
        (
            {"successRateEjection": {"stdevFactor": 1.9}},
            r"^successRateEjection\.stdevFactor is 1\.9: a whole number is wanted$",
        ),
        (
            {"failurePercentageEjection": {"threshold": 101}},
            r"^failurePercentageEjection\.threshold is 101: at least 0 and at most 100 is allowed$",
        ),
        (
            {"failurePercentageEjection": {"minimumHosts": -1}},
            r"^failurePercentageEjection\.minimumHosts is -1: ",
        ),
    ],
)
def test_a_bad_field_is_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutlierDetection.parse(config)


def test_a_record_made_by_hand_is_checked_as_well() -> None:
    with pytest.raises(ValueError, match=r"^threshold is 101: "):
        FailurePercentageEjection(threshold=101)
    with pytest.raises(ValueError, match=r"^enforcementPercentage is -1: "):
        SuccessRateEjection(enforcement_percentage=-1)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("OK", False),
        ("UNAVAILABLE", True),
        ("DEADLINE_EXCEEDED", True),
        ("INTERNAL", True),
        ("NOT_FOUND", False),
        ("INVALID_ARGUMENT", False),
        ("CANCELLED", False),
        ("UNAUTHENTICATED", False),
    ],
)
def test_by_default_an_error_is_what_a_sound_server_has_no_reason_to_answer(
    code: str, error: bool
) -> None:
    assert OutlierDetection().is_error(code) is error


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        (OutlierDetection(), False),
        (OutlierDetection(success_rate=SuccessRateEjection()), True),
        (OutlierDetection(failure_percentage=FailurePercentageEjection()), True),
        (OutlierDetection(consecutive_errors=5), True),
    ],
)
def test_it_says_whether_anything_is_ejected_at_all(config: OutlierDetection, counts: bool) -> None:
    assert config.counts is counts
