import json
import logging
from typing import Any

import pytest

from client_resolver.errors import ServiceConfigError
from client_resolver.service_config import MethodConfig, parse_service_config


@pytest.mark.parametrize(
    ("config", "name", "policy"),
    [
        (None, None, "weighted_round_robin"),
        (None, "round_robin", "round_robin"),
        ({}, None, "weighted_round_robin"),
        ({"loadBalancingPolicy": "round_robin"}, None, "round_robin"),
        ({"loadBalancingPolicy": "ROUND_ROBIN"}, None, "round_robin"),
        ({"loadBalancingPolicy": "round_robin"}, "weighted_round_robin", "round_robin"),
        ({"loadBalancingConfig": [{"round_robin": {}}]}, "weighted_round_robin", "round_robin"),
        (
            {"loadBalancingConfig": [{"grpclb": {}}, {"round_robin": {}}, {"other": {}}]},
            None,
            "round_robin",
        ),
        ('{"loadBalancingConfig": [{"round_robin": {}}]}', None, "round_robin"),
    ],
)
def test_the_first_known_policy_is_taken(config: Any, name: str | None, policy: str) -> None:
    assert parse_service_config(config, name).policy.name == policy


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ({"loadBalancingConfig": {}}, "not a list"),
        ({"loadBalancingConfig": ["round_robin"]}, "not an object with one policy name"),
        ({"loadBalancingConfig": [{}]}, "not an object with one policy name"),
        ({"loadBalancingConfig": []}, "no known policy but nothing. Known: round_robin, weighted"),
        ({"loadBalancingConfig": [{"x": {}}, {"y": {}}]}, "'x', 'y'. Known: round_robin"),
        ({"loadBalancingPolicy": "rls"}, "'rls'. Known: round_robin"),
        ({"methodConfig": {}}, "not a list"),
        ({"methodConfig": [{"name": [{}], "timeout": 3}]}, "timeout 3"),
        ({"methodConfig": [{"name": [{}], "timeout": "3"}]}, "timeout '3'"),
        ({"methodConfig": [{"name": [{}], "waitForReady": "yes"}]}, "waitForReady"),
        ({"methodConfig": [{"name": [{}]}, {"name": [{}]}]}, "two entries"),
        ({"methodConfig": [{"name": [{"method": "M"}]}]}, "has no service"),
        ({"methodConfig": [{"name": [{}], "retryPolicy": 1}]}, "retryPolicy is not an object"),
        ({"retryThrottling": 1}, "retryThrottling is not an object"),
        ({"retryThrottling": {"maxTokens": 0, "tokenRatio": 1}}, "maxTokens"),
        ({"retryThrottling": {"maxTokens": 9, "tokenRatio": 0}}, "tokenRatio"),
    ],
)
def test_what_is_malformed_is_named(config: Any, why: str) -> None:
    with pytest.raises(ServiceConfigError) as caught:
        parse_service_config(config)
    assert why in str(caught.value)


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
    assert config.method("/t.S/M") == MethodConfig(None, 0.25)
    assert config.method("/t.S/N") == MethodConfig(True, None)
    assert config.method("/t.T/M") == MethodConfig(None, 3.0)
    assert parse_service_config({}).method("/t.S/M") == MethodConfig()


def test_what_c_core_carries_out_is_passed_on_and_the_rest_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    retry = {
        "maxAttempts": 3,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    name = [{"service": "t.S"}]
    throttling = {"maxTokens": 9, "tokenRatio": 0.5}
    config = {
        "methodConfig": [
            {"name": name, "timeout": "1s", "waitForReady": True, "retryPolicy": retry},
            {"name": [{}], "timeout": "2s"},
        ],
        "retryThrottling": throttling,
        "loadBalancingConfig": [{"round_robin": {"x": 1}}],
        "healthCheckConfig": {"serviceName": ""},
    }
    with caplog.at_level(logging.WARNING, "client_resolver"):
        assert json.loads(parse_service_config(config).forwarded) == {
            "methodConfig": [{"name": name, "retryPolicy": retry}, {"name": [{}]}],
            "retryThrottling": throttling,
        }
    assert "'healthCheckConfig' is not supported" in caplog.text
    assert "round_robin has no setting 'x'" in caplog.text
    timeouts = {"methodConfig": [{"name": [{}], "timeout": "2s"}]}
    assert parse_service_config(timeouts).forwarded == ""
    assert parse_service_config({}).forwarded == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"maxAttempts": 1}, "maxAttempts"),
        ({"maxAttempts": "3"}, "maxAttempts '3' is not a number"),
        ({"backoffMultiplier": 0}, "backoffMultiplier"),
        ({"initialBackoff": None}, "initialBackoff"),
        ({"maxBackoff": "1"}, "maxBackoff '1' is not of the form"),
        ({"retryableStatusCodes": []}, "retryableStatusCodes"),
        ({"retryableStatusCodes": ["BROKEN"]}, "BROKEN"),
    ],
)
def test_a_retry_policy_that_c_core_would_choke_on_is_named(changes: Any, why: str) -> None:
    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy | changes}]}
    with pytest.raises(ServiceConfigError) as caught:
        parse_service_config(config)
    assert why in str(caught.value)
