import json
from typing import Any

import pytest

from client_resolver.core.model import Revision
from client_resolver.errors import ServiceConfigError
from client_resolver.settings import Settings


def settings(
    target: str = "lookaside://b:1/greeter.shop:grpc", options: Any = None, **given: Any
) -> Settings:
    defaults: dict[str, Any] = {
        "service_config": None,
        "balancer_credentials": None,
        "balancer_options": None,
        "client_id": None,
        "zone": None,
        "node": None,
        "subset_size": None,
        "watch_backoff": (0.1, 3.0),
        "older_revision_hold": 30.0,
        "drain_timeout": None,
    }
    return Settings.of(target, None, options, None, **(defaults | given))


def test_connections_have_the_options_that_a_pool_needs() -> None:
    assert dict(settings().options) == {
        "grpc.use_local_subchannel_pool": 1,
        "grpc.enable_http_proxy": 0,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.min_reconnect_backoff_ms": 5000,
        "grpc.max_reconnect_backoff_ms": 2000,
        "grpc.default_authority": "greeter.shop",
    }
    assert "grpc.default_authority" not in dict(settings("static:///a:1").options)


def test_the_users_options_win() -> None:
    options = [("grpc.enable_http_proxy", 1), ("grpc.default_authority", "x"), ("grpc.other", 3)]
    found = dict(settings(options=options).options)
    assert found["grpc.enable_http_proxy"] == 1
    assert found["grpc.default_authority"] == "x"
    assert found["grpc.other"] == 3
    balancer = dict(settings(balancer_options=[("grpc.keepalive_time_ms", 5)]).balancer_options)
    assert balancer["grpc.keepalive_time_ms"] == 5
    assert balancer["grpc.keepalive_timeout_ms"] == 10_000


def test_policy_and_service_config_are_read_from_the_options() -> None:
    throttling = {"retryThrottling": {"maxTokens": 9, "tokenRatio": 1}}
    config = {"loadBalancingPolicy": "round_robin", **throttling}
    found = settings(options=[("grpc.service_config", json.dumps(config))])
    assert found.config.policy.name == "round_robin"
    assert "grpc.service_config" not in dict(found.options)
    options = dict(found.connection_options(found.config))
    assert json.loads(str(options["grpc.service_config"])) == throttling
    found = settings(options=[("grpc.lb_policy_name", "round_robin")])
    assert found.config.policy.name == "round_robin"
    assert "grpc.lb_policy_name" not in dict(found.options)
    with pytest.raises(ServiceConfigError, match="pick_last"):
        settings(options=[("grpc.lb_policy_name", "pick_last")])


def test_the_argument_goes_before_the_option() -> None:
    options = [("grpc.service_config", '{"loadBalancingPolicy": "round_robin"}')]
    found = settings(
        options=options, service_config={"loadBalancingPolicy": "weighted_round_robin"}
    )
    assert found.config.policy.name == "weighted_round_robin"


def test_the_balancer_is_told_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "web-0")
    monkeypatch.setenv("LOOKASIDE_ZONE", "eu-1a")
    monkeypatch.setenv("LOOKASIDE_NODE", "n1")
    client = settings().request(None).client
    assert (client.id, client.zone, client.node) == ("web-0", "eu-1a", "n1")
    client = settings(client_id="me", zone="", node="n2").request(None).client
    assert (client.id, client.zone, client.node) == ("me", "", "n2")
    monkeypatch.delenv("POD_NAME")
    assert settings().request(None).client.id


@pytest.mark.parametrize(
    "given",
    [
        {"subset_size": 0},
        {"subset_size": 2**32},
        {"watch_backoff": (0.0, 1.0)},
        {"watch_backoff": (2.0, 1.0)},
        {"older_revision_hold": -1.0},
        {"drain_timeout": -1.0},
    ],
)
def test_numbers_out_of_range_are_named(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        settings(**given)


def test_a_static_target_has_a_list_and_no_balancer() -> None:
    fixed = settings("static:///a:1,b:2").fixed()
    assert fixed is not None
    assert [endpoint.weight for endpoint in fixed.endpoints] == [1, 1]
    assert settings().fixed() is None
    assert settings().balancer == "b:1"
    assert settings().balancer_target == "dns:///b:1"


def test_the_balancer_is_asked_for_deltas_a_subset_and_what_is_not_known() -> None:
    request = settings(subset_size=5).request(Revision("d", 7, "e"))
    assert request.deltas
    assert request.subset_size == 5
    assert (request.known.digest, request.known.version, request.known.epoch) == ("d", 7, "e")
    request = settings().request(None)
    assert request.subset_size == 0
    assert not request.HasField("known")


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({}, False),
        ({"options": [("grpc.other", 1)]}, False),
        ({"service_config": {}}, True),
        ({"options": [("grpc.service_config", "{}")]}, True),
        ({"options": [("grpc.lb_policy_name", "round_robin")]}, True),
    ],
)
def test_a_config_of_ones_own_is_an_argument_or_an_option(given: Any, own: bool) -> None:
    assert settings(**given).own_config is own
