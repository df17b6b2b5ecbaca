from typing import Any

import pytest

from client_resolver.call.path import is_light, is_plain
from client_resolver.config.settings import Settings
from client_resolver.telemetry.observer import Attempt, Observer

PATH = "/t.T/UU"
RETRY: dict[str, object] = {
    "maxAttempts": 3,
    "initialBackoff": "1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


class Ends(Observer):
    def attempt_ended(self, attempt: Attempt, code: str, seconds: float) -> None:
        """Is told of ends alone."""


class Attempts(Observer):
    def attempt_started(self, attempt: Attempt) -> None:
        """Is told of attempts as they begin."""


class Rpcs(Observer):
    def rpc_started(self, target: str, method: str) -> None:
        """Is told of RPCs as they begin."""


def demands(
    method: dict[str, object] | None = None, top: dict[str, Any] | None = None, **kwargs: Any
) -> str:
    """The shortest way that RPCs of a method may take."""
    config = {"methodConfig": [{"name": [{}], **(method or {})}], **(top or {})}
    given: Any = {"service_config": config, **kwargs}
    settings = Settings.of("static:///10.0.0.1:80", None, None, None, given)
    asked = (settings, settings.config, settings.config.method(PATH))
    if is_plain(*asked):
        assert is_light(*asked)
        return "plain"
    return "light" if is_light(*asked) else "whole"


@pytest.mark.parametrize(
    ("method", "way"),
    [
        ({}, "plain"),
        ({"waitForReady": True}, "plain"),
        ({"timeout": "1s"}, "light"),
        ({"retryPolicy": RETRY}, "light"),
        ({"retryPolicy": {**RETRY, "perAttemptRecvTimeout": "2s"}}, "whole"),
        ({"hedgingPolicy": {"maxAttempts": 2}}, "whole"),
    ],
)
def test_what_applies_to_a_method_decides(method: dict[str, object], way: str) -> None:
    assert demands(method) == way


@pytest.mark.parametrize(
    ("top", "way"),
    [
        ({"outlierDetection": {}}, "plain"),
        ({"outlierDetection": {"consecutiveErrors": 5}}, "light"),
        ({"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}}, "plain"),
        ({"circuitBreaker": {"maxRequests": 1}}, "whole"),
        ({"circuitBreaker": {"maxConnections": 1}}, "plain"),
        ({"loadBalancingConfig": [{"least_request": {}}]}, "plain"),
        ({"loadBalancingConfig": [{"ring_hash": {}}]}, "light"),
        ({"loadBalancingConfig": [{"peak_ewma": {}}]}, "light"),
        ({"loadBalancingConfig": [{"weighted_round_robin": {"backendMetrics": True}}]}, "whole"),
    ],
)
def test_what_applies_to_the_channel_decides(top: dict[str, Any], way: str) -> None:
    assert demands(top=top) == way


@pytest.mark.parametrize(
    ("kwargs", "way"),
    [
        ({"connect": "lazy"}, "whole"),
        ({"connections_per_backend": 2}, "whole"),
        ({"observers": [Observer()]}, "light"),
        ({"observers": [Ends()]}, "light"),
        ({"observers": [Ends(), Attempts()]}, "whole"),
        ({"observers": [Rpcs()]}, "whole"),
    ],
)
def test_what_the_application_wants_decides(kwargs: dict[str, Any], way: str) -> None:
    assert demands(**kwargs) == way
