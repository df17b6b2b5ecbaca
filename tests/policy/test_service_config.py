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
    "retries of attempts that take too long, whatever the code": method(
        retryPolicy=RETRY | {"retryableStatusCodes": [], "perAttemptRecvTimeout": "0.5s"}
    ),
    "hedging": method(hedgingPolicy={"maxAttempts": 2, "hedgingDelay": "0.05s"}),
    "time, size and waiting": method(
        timeout="1.000000001s", waitForReady=True, maxRequestMessageBytes=4_096
    ),
    "throttling and health checks": {
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        "healthCheckConfig": {"serviceName": ""},
    },
    "outlier detection": {
        "outlierDetection": {
            "interval": "3s",
            "baseEjectionTime": "0s",
            "maxEjectionTime": "60s",
            "maxEjectionPercent": 100,
            "successRateEjection": {"stdevFactor": 1_900, "requestVolume": 10},
            "failurePercentageEjection": {"threshold": 50, "minimumHosts": 0},
            "consecutiveErrors": 5,
            "errorCodes": ["UNAVAILABLE"],
        }
    },
    "the rest of what the companion package carries out": {
        "slowStart": {"window": "30s", "aggression": 1.5, "minWeightPercent": 10},
        "circuitBreaker": {"maxConnections": 1, "maxPendingRequests": 0, "maxRequests": 100},
        "panicThreshold": 50,
        "localityPriorities": {"levels": ["node", "zone"], "overprovisioningFactor": 140},
    },
}


@pytest.mark.parametrize("case", GOOD)
def test_a_service_config_is_given_on_as_compact_json(case: str) -> None:
    text = parse_service_config(json.dumps(GOOD[case], indent=4))
    assert json.loads(text) == GOOD[case]
    assert text == json.dumps(GOOD[case], separators=(",", ":"))


BAD: dict[str, tuple[object, str]] = {
    "no object": ([], "Expected `object`, got `array`"),
    "an unknown field": ({"loadBalancer": 1}, "loadBalancer is not known and has no effect"),
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
    "a wait of nothing": (
        method(retryPolicy=RETRY | {"initialBackoff": "0s"}),
        "initialBackoff must be above 0s",
    ),
    "an attempt of no time": (
        method(retryPolicy=RETRY | {"perAttemptRecvTimeout": "0.0s"}),
        "perAttemptRecvTimeout must be above 0s",
    ),
    "a method without its service": (
        {"methodConfig": [{"name": [{"method": "M"}]}]},
        r"a method must have its service's name - at `\$.methodConfig\[0\].name\[0\]`",
    ),
    "a method twice": (
        {"methodConfig": [{"name": NAME}, {"name": NAME}]},
        "methodConfig must name a method or service once",
    ),
    "a negative size": (
        method(maxRequestMessageBytes=-1),
        "maxRequestMessageBytes must be from 0 to 4294967295",
    ),
    "an unknown field of ours": (
        {"outlierDetection": {"intervall": "3s"}},
        "outlierDetection.intervall is not known .*: did you mean interval?",
    ),
    "sweeps without a pause": (
        {"outlierDetection": {"interval": "0s"}},
        r"interval must be above 0s - at `\$.outlierDetection`",
    ),
    "more than all": (
        {"outlierDetection": {"maxEjectionPercent": 101}},
        "maxEjectionPercent must be from 0 to 100",
    ),
    "errors in a row, but none": (
        {"outlierDetection": {"consecutiveErrors": 0}},
        "consecutiveErrors must be from 1 to",
    ),
    "an error that is none": (
        {"outlierDetection": {"errorCodes": ["OK"]}},
        "'OK' is not a gRPC status code",
    ),
    "a negative volume": (
        {"outlierDetection": {"successRateEjection": {"requestVolume": -1}}},
        r"requestVolume must be from 0 to 4294967295 - at .*successRateEjection`",
    ),
    "a threshold above 100": (
        {"outlierDetection": {"failurePercentageEjection": {"threshold": 101}}},
        r"threshold must be from 0 to 100 - at .*failurePercentageEjection`",
    ),
    "a slow start without its window": (
        {"slowStart": {}},
        "missing required field `window`",
    ),
    "a slow start that takes no time": (
        {"slowStart": {"window": "0s"}},
        "window must be above 0s",
    ),
    "a curve of no shape": (
        {"slowStart": {"window": "1s", "aggression": 0}},
        "aggression must be above 0",
    ),
    "a weight of nothing": (
        {"slowStart": {"window": "1s", "minWeightPercent": 0}},
        "minWeightPercent must be above 0, at most 100",
    ),
    "no connections": (
        {"circuitBreaker": {"maxConnections": 0}},
        r"maxConnections must be from 1 to 4294967295 - at `\$.circuitBreaker`",
    ),
    "panic at more than all": (
        {"panicThreshold": 101},
        "panicThreshold must be from 0 to 100",
    ),
    "levels out of order": (
        {"localityPriorities": {"levels": ["zone", "node"]}},
        "levels must be one or more of node, zone, in this order",
    ),
    "no levels": (
        {"localityPriorities": {"levels": []}},
        "levels must be one or more of node, zone, in this order",
    ),
    "too little provision": (
        {"localityPriorities": {"levels": ["zone"], "overprovisioningFactor": 99}},
        "overprovisioningFactor must be from 100 to",
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


_NO_TEXT = "truncated|surrogate|[Ii]nvalid|malformed"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"loadBalancingPolicy":"\\ud800 and more text"}', _NO_TEXT),
        ('{"slowStart":{"window":"1s"},"slowStart":{"window":"2s"}}', "'slowStart' stands twice"),
        ('{"loadBalancingConfig":[{"x":{"a":1,"a":2}}]}', "the key 'a' stands twice"),
        ('{"loadBalancingConfig":[{"x":{"a":1,"\\u0061":2}}]}', "the key 'a' stands twice"),
        ('{"loadBalancingPolicy":"a\\u0000b"}', "NUL in a text"),
        ('{"loadBalancingConfig":[{"x":{"a":[["\\u0000"]]}}]}', "NUL in a text"),
        ('{"loadBalancingConfig":[{"x":{"a\\u0000":1}}]}', "NUL in a text"),
        ('{"loadBalancingPolicy":"\\ud800"}', _NO_TEXT),
        ('{"loadBalancingPolicy":"\\ud800\\ud800"}', _NO_TEXT),
        ('{"loadBalancingPolicy":"\\udc00x"}', _NO_TEXT),
        ('{"loadBalancingConfig":[{"x":{"\\ud800":1}}]}', _NO_TEXT),
    ],
)
def test_a_key_twice_and_what_is_no_text_everywhere_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_service_config(text)


def test_what_only_looks_like_an_escaped_nul_is_taken() -> None:
    text = r'{"loadBalancingConfig":[{"x":{"a":"\\u0000","b":"\ud83d\ude00"}}]}'
    assert "\\\\u0000" in parse_service_config(text)


@pytest.mark.parametrize("depth", [10, 900, 1_000, 1_100, 4_000])
def test_nesting_is_taken_or_refused(depth: int) -> None:
    text = '{"loadBalancingConfig":[{"x":{"y":' + "[" * depth + "]" * depth + "}}]}"
    try:
        assert parse_service_config(text) == text
    except ValueError:
        assert depth > 10
