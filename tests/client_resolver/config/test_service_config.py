import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from client_resolver.config.service_config import MethodConfig, ServiceConfig, parse_service_config
from client_resolver.core.breaker import Limits
from client_resolver.core.config import PoolConfig
from client_resolver.core.outlier import OutlierDetection
from client_resolver.core.picker import Policy
from client_resolver.core.pickers import POLICIES
from client_resolver.core.priorities import LocalityPriorities
from client_resolver.core.retry import Throttling
from client_resolver.core.slow_start import SlowStart
from client_resolver.errors import ServiceConfigError


@pytest.mark.parametrize("config", [None, {}, "{}", " { } "])
def test_an_empty_config_asks_for_nothing(config: Any) -> None:
    assert parse_service_config(config) == ServiceConfig()


FULL: dict[str, object] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "retryThrottling": {"maxTokens": 9, "tokenRatio": 0.5},
    "healthCheckConfig": {"serviceName": "t.S"},
    "outlierDetection": {"interval": "3s", "consecutiveErrors": 5},
    "slowStart": {"window": "30s"},
    "circuitBreaker": {"maxRequests": 100},
    "panicThreshold": 50,
    "localityPriorities": {"levels": ["zone"]},
}


@pytest.mark.parametrize("config", [FULL, json.dumps(FULL)])
def test_every_field_is_read(config: Any) -> None:
    parsed = parse_service_config(config)
    assert parsed.policy.name == "round_robin"
    assert parsed.throttling == Throttling(9, 0.5)
    assert parsed.health_service == "t.S"
    assert parsed.pool == PoolConfig(
        policy=parsed.policy,
        outlier=OutlierDetection(interval=3.0, consecutive_errors=5),
        slow_start=SlowStart(30.0),
        limits=Limits(max_requests=100),
        panic_threshold=50,
        priorities=LocalityPriorities(("zone",)),
        subset_size=None,
    )


def test_outlier_detection_of_the_config_goes_before_that_of_a_wrapper() -> None:
    child: list[object] = [{"round_robin": {}}]
    config: dict[str, object] = {
        "loadBalancingConfig": [
            {"outlier_detection": {"interval": "3s", "childPolicy": child}},
        ],
    }
    assert parse_service_config(config).outlier == OutlierDetection(interval=3.0)
    config["outlierDetection"] = {"interval": "7s"}
    assert parse_service_config(config).outlier == OutlierDetection(interval=7.0)


def test_the_size_of_a_subset_comes_from_its_wrapper() -> None:
    settings = {"subsetSize": 3, "childPolicy": [{"round_robin": {}}]}
    config = {"loadBalancingConfig": [{"random_subsetting_experimental": settings}]}
    assert parse_service_config(config).pool.subset_size == 3


def test_the_channels_arguments_choose_a_policy() -> None:
    def nearest(settings: Mapping[str, object]) -> Policy:
        return POLICIES["pick_first"](settings)

    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    assert parse_service_config(config, "pick_first").policy.name == "pick_first"
    assert parse_service_config(None, None, "round_robin").policy.name == "round_robin"
    own = parse_service_config(config, {"nearest": {}}, None, {"nearest": nearest})
    assert own.policy.name == "pick_first"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("{", "service config is not JSON: "),
        ("[" * 100_000, "service config is nested too deep"),
        ("[]", "service config is []: a JSON object is wanted"),
        (
            {"loadBalancingPolicy": "rls"},
            "loadBalancingPolicy names 'rls': no such policy is known.",
        ),
        ({"methodConfig": [{"timeout": 3}]}, "methodConfig[0].timeout is 3: "),
        ({"retryThrottling": 1}, "retryThrottling is 1: an object is wanted"),
        ({"retryThrottling": {"maxTokens": 0, "tokenRatio": 1}}, "retryThrottling.maxTokens is 0:"),
        ({"healthCheckConfig": []}, "healthCheckConfig is []: an object is wanted"),
        ({"healthCheckConfig": {"serviceName": 1}}, "healthCheckConfig.serviceName is 1: a string"),
        ({"outlierDetection": {"interval": "0s"}}, "outlierDetection.interval is 0s: more than"),
        (
            {"outlierDetection": {"successRateEjection": {"requestVolume": "x"}}},
            "outlierDetection.successRateEjection.requestVolume is 'x': a whole number",
        ),
        ({"slowStart": {}}, "slowStart.window is missing"),
        ({"circuitBreaker": {"maxRetries": -1}}, "circuitBreaker.maxRetries is -1: at least 0"),
        ({"panicThreshold": 101}, "panicThreshold is 101: at least 0 and at most 100"),
        ({"localityPriorities": {"levels": ["moon"]}}, "localityPriorities.levels is ['moon']:"),
    ],
)
def test_what_is_malformed_is_named(config: Any, why: str) -> None:
    with pytest.raises(ServiceConfigError) as caught:
        parse_service_config(config)
    assert str(caught.value).startswith(why)


def test_a_field_that_isnt_known_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "client_resolver"):
        parse_service_config({**FULL, "slowstart": {}})
    text = "service config: slowstart is not known and has no effect: did you mean slowStart?"
    assert caplog.messages == [text]


def test_the_most_exact_method_config_applies() -> None:
    config = parse_service_config(
        {
            "methodConfig": [
                {"name": [{}], "timeout": "3s"},
                {"name": [{"service": "t.S"}], "waitForReady": True},
                {"name": [{"service": "t.S", "method": "M"}], "timeout": "0.25s"},
            ]
        }
    )
    assert config.method("/t.S/M") == MethodConfig(timeout=0.25)
    assert config.method("/t.S/N") == MethodConfig(wait_for_ready=True)
    assert config.method("/t.T/M") == MethodConfig(timeout=3.0)
    assert parse_service_config({}).method("/t.S/M") == MethodConfig()


RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


@pytest.mark.parametrize(
    ("config", "forwarded"),
    [
        ({}, None),
        ({"methodConfig": [{"name": [{}], "timeout": "2s", "retryPolicy": RETRY}]}, None),
        ({"retryThrottling": {"maxTokens": 9, "tokenRatio": 0.5}}, None),
        ({"healthCheckConfig": {}}, None),
        (
            {"healthCheckConfig": {"serviceName": ""}},
            {
                "loadBalancingConfig": [{"round_robin": {}}],
                "healthCheckConfig": {"serviceName": ""},
            },
        ),
        (
            {
                "methodConfig": [
                    {"name": [{}], "retryPolicy": RETRY, "maxResponseMessageBytes": 9},
                    {"name": [{"service": "t.S"}], "timeout": "2s"},
                ],
                "loadBalancingConfig": [{"pick_first": {}}],
            },
            {
                "methodConfig": [
                    {"name": [{}], "maxResponseMessageBytes": 9},
                    {"name": [{"service": "t.S"}]},
                ]
            },
        ),
    ],
)
def test_c_core_gets_what_it_carries_out_and_no_retries(config: Any, forwarded: Any) -> None:
    text = parse_service_config(config).forwarded
    assert (json.loads(text) if text else None) == forwarded


WHOLE: dict[str, Any] = {
    "loadBalancingPolicy": "round_robin",
    "methodConfig": [
        {
            "name": [{"service": "t.S", "method": "UU"}],
            "timeout": "1s",
            "waitForReady": True,
            "maxRequestMessageBytes": 9,
            "retryPolicy": {**RETRY, "perAttemptRecvTimeout": "1s"},
        },
        {"name": [{}], "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "1s"}},
    ],
    "retryThrottling": {"maxTokens": 9, "tokenRatio": 0.5},
    "healthCheckConfig": {"serviceName": "t.S"},
    "outlierDetection": {
        "interval": "3s",
        "maxEjectionPercent": 50,
        "consecutiveErrors": 5,
        "errorCodes": ["UNAVAILABLE"],
        "successRateEjection": {"stdevFactor": 1900},
        "failurePercentageEjection": {"threshold": 85},
    },
    "slowStart": {"window": "30s", "aggression": 1, "minWeightPercent": 10},
    "circuitBreaker": {"maxConnections": 9, "maxRequests": 100},
    "panicThreshold": 50,
    "localityPriorities": {"levels": ["zone"], "overprovisioningFactor": 140},
    "loadBalancingConfig": [
        {
            "outlier_detection_experimental": {
                "interval": "1s",
                "childPolicy": [
                    {
                        "random_subsetting_experimental": {
                            "subsetSize": 3,
                            "childPolicy": [{"ring_hash": {"minRingSize": 9, "maxRingSize": 9}}],
                        }
                    }
                ],
            }
        }
    ],
}

BAD: tuple[Any, ...] = (
    *(None, True, 0, -1, 0.5, 2**70, 10**400, -(10**400), 1e308, float("nan"), float("inf"), b"x"),
    *("", "1s", "-1s", "3", "1e999", "OK", "x y", [], {}, [1], [[]], ["x"], {"x": {}}, {1: 2}),
)


def _with_each_value_replaced(whole: Any, bad: object) -> Iterator[Any]:
    yield bad
    if isinstance(whole, dict):
        for name, value in whole.items():
            for replaced in _with_each_value_replaced(value, bad):
                yield {**whole, name: replaced}
    elif isinstance(whole, list):
        for place, value in enumerate(whole):
            for replaced in _with_each_value_replaced(value, bad):
                yield [*whole[:place], replaced, *whole[place + 1 :]]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:9])
def test_whatever_stands_anywhere_is_read_or_refused_in_one_line(bad: object) -> None:
    parse_service_config(WHOLE)
    refused = 0
    for config in _with_each_value_replaced(WHOLE, bad):
        try:
            parse_service_config(config)
        except ServiceConfigError as error:
            refused += 1
            message = str(error)
        else:
            message = "read"
        assert message
        assert "\n" not in message
    assert bad is None or refused > 10
