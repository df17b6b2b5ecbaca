import json

import pytest

from lookaside.policy.service_config import parse_service_config

RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
NAME = [{"service": "greeter.Greeter"}]


def method(**fields: object) -> dict[str, object]:
    return {"methodConfig": [{"name": NAME, **fields}]}


GOOD: dict[str, dict[str, object]] = {
    "nothing": {},
    "a policy by its old name": {"loadBalancingPolicy": "round_robin"},
    "policies, those that are not known here too": {
        "loadBalancingConfig": [{"made_up": {"x": [1, {"y": None}]}}, {"ring_hash": {}}]
    },
    "retries": method(retryPolicy=RETRY),
    "retries with a time for each attempt": method(
        retryPolicy=RETRY | {"perAttemptRecvTimeout": "0.5s"}
    ),
    "hedging": method(hedgingPolicy={"maxAttempts": 2, "hedgingDelay": "0.05s"}),
    "time, size and waiting": method(
        timeout="1.000000001s", waitForReady=True, maxRequestMessageBytes=4_096
    ),
    "throttling and health checks": {
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        "healthCheckConfig": {"serviceName": ""},
    },
}


@pytest.mark.parametrize("case", GOOD)
def test_a_service_config_is_given_on_as_compact_json(case: str) -> None:
    text = parse_service_config(json.dumps(GOOD[case], indent=4))
    assert json.loads(text) == GOOD[case]
    assert text == json.dumps(GOOD[case], separators=(",", ":"))


BAD: dict[str, tuple[object, str]] = {
    "no object": ([], "Expected `object`, got `array`"),
    "an unknown field": ({"loadBalancer": 1}, "unknown field `loadBalancer`"),
    "two policies in one": (
        {"loadBalancingConfig": [{"a": {}, "b": {}}]},
        "each of loadBalancingConfig must name one policy",
    ),
    "a policy without an object": (
        {"loadBalancingConfig": [{"a": 1}]},
        r"Expected `object`, got `int` - at `\$.loadBalancingConfig\[0\]",
    ),
    "a duration without its unit": (
        method(timeout="1"),
        r"'1' is not a duration such as 0.5s - at `\$.methodConfig\[0\]`",
    ),
    "one attempt": (
        method(retryPolicy=RETRY | {"maxAttempts": 1}),
        r"maxAttempts must be 2 or more - at `\$.methodConfig\[0\].retryPolicy`",
    ),
    "a multiplier of 0": (
        method(retryPolicy=RETRY | {"backoffMultiplier": 0}),
        "backoffMultiplier must be above 0",
    ),
    "no code to retry on": (
        method(retryPolicy=RETRY | {"retryableStatusCodes": []}),
        "retryableStatusCodes must name one",
    ),
    "a code that is none": (
        method(retryPolicy=RETRY | {"retryableStatusCodes": ["OOPS"]}),
        "'OOPS' is not a gRPC status code",
    ),
    "half a retry policy": (
        method(retryPolicy={"maxAttempts": 2}),
        r"missing required field `initialBackoff` - at `\$.methodConfig\[0\].retryPolicy`",
    ),
    "retries and hedging": (
        method(retryPolicy=RETRY, hedgingPolicy={"maxAttempts": 2}),
        "either retryPolicy or hedgingPolicy",
    ),
    "one hedged attempt": (
        method(hedgingPolicy={"maxAttempts": 1}),
        r"maxAttempts must be 2 or more - at `\$.methodConfig\[0\].hedgingPolicy`",
    ),
    "too many tokens": (
        {"retryThrottling": {"maxTokens": 1_001, "tokenRatio": 1}},
        r"maxTokens must be above 0 and at most 1000 - at `\$.retryThrottling`",
    ),
    "no ratio": (
        {"retryThrottling": {"maxTokens": 1, "tokenRatio": 0}},
        "tokenRatio must be above 0",
    ),
    "too long": ({"loadBalancingPolicy": "x" * 16_384}, "longer than 16384 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_service_config_is_refused_with_the_place(case: str) -> None:
    config, reason = BAD[case]
    with pytest.raises(ValueError, match=reason):
        parse_service_config(json.dumps(config))


@pytest.mark.parametrize("text", ["{", "", "{'a': 1}", "\ud800", "[" * 9_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are those of the decoder
        parse_service_config(text)


@pytest.mark.parametrize("depth", [10, 900, 1_000, 1_100, 4_000])
def test_nesting_is_taken_or_refused(depth: int) -> None:
    text = '{"loadBalancingConfig":[{"x":{"y":' + "[" * depth + "]" * depth + "}}]}"
    try:
        assert parse_service_config(text) == text
    except ValueError:
        assert depth > 10
