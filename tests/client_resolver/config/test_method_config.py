import logging
from typing import Any

import pytest

from client_resolver.config.method_config import (
    MethodConfig,
    parse_forwarded_methods,
    parse_methods,
)
from client_resolver.core.hedging import HedgingPolicy
from client_resolver.core.retry import RetryPolicy

RETRY: dict[str, object] = {
    "maxAttempts": 3,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
HEDGING: dict[str, object] = {"maxAttempts": 2, "hedgingDelay": "0.5s"}
NAME = [{"service": "t.S"}]


def test_what_applies_stands_under_every_name_of_an_entry() -> None:
    names = [{"service": "t.S", "method": "M"}, {"service": "t.S", "method": ""}, {}]
    entry = {"name": names, "timeout": "1.5s", "waitForReady": False}
    method = MethodConfig(wait_for_ready=False, timeout=1.5)
    assert parse_methods({"methodConfig": [entry]}) == dict.fromkeys(["t.S/M", "t.S/", "/"], method)


def test_retries_and_hedging_are_read() -> None:
    entries = [
        {"name": [{"service": "t.R"}], "retryPolicy": RETRY},
        {"name": [{"service": "t.H"}], "hedgingPolicy": HEDGING},
    ]
    assert parse_methods({"methodConfig": entries}) == {
        "t.R/": MethodConfig(retry=RetryPolicy(3, 0.1, 1.0, 2.0, frozenset({"UNAVAILABLE"}))),
        "t.H/": MethodConfig(hedging=HedgingPolicy(2, 0.5)),
    }


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({}, "methodConfig is {}: a list is wanted"),
        ([1], "methodConfig has 1: objects are wanted"),
        ([{"name": {}}], "methodConfig[0].name is {}: a list is wanted"),
        ([{"name": ["t.S"]}], "methodConfig[0].name has 't.S': objects are wanted"),
        ([{"name": [{"service": 1}]}], "methodConfig[0].name.service is 1: a string is wanted"),
        ([{"name": [{"method": "M"}]}], "methodConfig[0].name.method is 'M' without a service"),
        ([{"name": NAME}, {"name": NAME}], "methodConfig[1].name has 't.S/', as an entry before"),
        ([{"name": NAME, "timeout": 3}], "methodConfig[0].timeout is 3: a duration like"),
        ([{"name": NAME, "timeout": "3"}], "methodConfig[0].timeout is '3': a duration like"),
        ([{"name": NAME, "timeout": "-3s"}], "methodConfig[0].timeout is -3s: at least 0s"),
        ([{"waitForReady": "yes"}], "methodConfig[0].waitForReady is 'yes': true or false"),
        ([{"retryPolicy": 1}], "methodConfig[0].retryPolicy is 1: an object is wanted"),
        (
            [{"retryPolicy": RETRY | {"maxAttempts": 1}}],
            "methodConfig[0].retryPolicy.maxAttempts is 1: at least 2",
        ),
        (
            [{"hedgingPolicy": {"maxAttempts": 0}}],
            "methodConfig[0].hedgingPolicy.maxAttempts is 0: at least 2",
        ),
        (
            [{"retryPolicy": RETRY, "hedgingPolicy": HEDGING}],
            "methodConfig[0].retryPolicy and hedgingPolicy are both there: one of them is allowed",
        ),
    ],
)
def test_what_is_malformed_is_named(entries: Any, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        parse_methods({"methodConfig": entries})
    assert str(caught.value).startswith(why)


def test_more_attempts_than_grpc_allows_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    many = {"maxAttempts": 9}
    entries = [
        {"name": [{}], "retryPolicy": RETRY | many},
        {"name": NAME, "hedgingPolicy": HEDGING | many},
        {"name": [{"service": "t.T"}], "retryPolicy": RETRY | {"maxAttempts": 5}},
    ]
    with caplog.at_level(logging.WARNING, "client_resolver"):
        methods = parse_methods({"methodConfig": entries})
    retry, hedging = methods["/"].retry, methods["t.S/"].hedging
    assert retry is not None
    assert hedging is not None
    assert (retry.max_attempts, hedging.max_attempts) == (5, 5)
    (message,) = caplog.messages
    assert "[0].retryPolicy.maxAttempts, methodConfig[1].hedgingPolicy.maxAttempts is" in message


def test_limits_of_sizes_are_forwarded_and_hide_those_of_less_exact_entries() -> None:
    entries = [
        {"name": [{}], "maxRequestMessageBytes": "10", "maxResponseMessageBytes": 20},
        {"name": NAME, "timeout": "1s", "waitForReady": True, "retryPolicy": RETRY},
        {"name": [{"service": "t.H"}], "hedgingPolicy": HEDGING},
    ]
    assert parse_forwarded_methods({"methodConfig": entries}) == [
        {"name": [{}], "maxRequestMessageBytes": 10, "maxResponseMessageBytes": 20},
        {"name": NAME},
        {"name": [{"service": "t.H"}]},
    ]


def test_without_limits_of_sizes_nothing_is_forwarded() -> None:
    assert parse_forwarded_methods({"methodConfig": [{"name": NAME, "timeout": "1s"}]}) == []
    assert parse_forwarded_methods({}) == []


@pytest.mark.parametrize("limit", [-1, 1.5, "many", 2**32])
def test_a_malformed_limit_is_named(limit: object) -> None:
    with pytest.raises(ValueError, match=r"^methodConfig\[0\]\.maxRequestMessageBytes is"):
        parse_forwarded_methods({"methodConfig": [{"maxRequestMessageBytes": limit}]})


@pytest.mark.parametrize(
    ("own", "configured", "timeout"),
    [(None, None, None), (1.0, None, 1.0), (None, 2.0, 2.0), (1.0, 2.0, 1.0), (3.0, 2.0, 2.0)],
)
def test_the_shorter_timeout_holds(
    own: float | None, configured: float | None, timeout: float | None
) -> None:
    assert MethodConfig(timeout=configured).bounded(own) == timeout
