import json
import re
from contextlib import nullcontext
from typing import Any, cast

import grpc
import grpc.experimental
import pytest

import client_resolver
from client_resolver import Dialing, Observer, aio
from client_resolver.config.keywords import Keywords
from client_resolver.config.settings import Settings
from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, Revision
from client_resolver.core.pickers.ring_hash import RingHash
from client_resolver.errors import ServiceConfigError


def settings(
    target: str = "lookaside://b:1/greeter.shop:grpc", options: Any = None, **given: Any
) -> Settings:
    return Settings.of(target, None, options, None, cast("Keywords", given))


def options_of(found: Settings, address: str = "10.0.0.1:80") -> dict[str, object]:
    return dict(found.dialling(Endpoint(parse_address(address)), found.config)[1])


def test_connections_have_the_options_that_a_pool_needs() -> None:
    assert dict(settings().options) == {
        "grpc.use_local_subchannel_pool": 1,
        "grpc.enable_http_proxy": 0,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.min_reconnect_backoff_ms": 20_000,
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
    config = {"loadBalancingPolicy": "round_robin", "healthCheckConfig": {"serviceName": "s"}}
    found = settings(options=[("grpc.service_config", json.dumps(config))])
    assert found.config.policy.name == "round_robin"
    assert "grpc.service_config" not in dict(found.options)
    passed_on = json.loads(str(options_of(found)["grpc.service_config"]))
    assert passed_on["healthCheckConfig"] == {"serviceName": "s"}
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


NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("balancer_options", [5, [5], [("grpc.x",)], [(5, 5)], [("grpc.x", object())]]),
        ("balancer_token", [5]),
        ("insecure_balancer_token", [1, "yes"]),
        ("client_id", [5, b"me"]),
        ("connect", ["soon", [], True]),
        ("connections_per_backend", [0, 101, 1.5, True, "2"]),
        ("dial", [5, Dialing()]),
        ("drain_timeout", [-1.0, NAN, "5", True]),
        ("fallback", [5]),
        ("hash_key", ["user-id"]),
        ("idle_timeout", [0.0, NAN, "5"]),
        ("keepalive", [30, (30,), ("a", "b"), (0.0, 1.0), (1.0, 0.0), (1.0, NAN), (2.0**21, 1.0)]),
        ("node", [5]),
        ("observers", [5, [5], [Observer], Observer()]),
        ("older_revision_hold", [-1.0, NAN, "5"]),
        ("options", [5, [5], [("grpc.x",)], [("grpc.x", None)], [("grpc.x", -1.5)], {"a": 1}]),
        ("policies", [[], {"mine": 5}, {5: print}]),
        ("refresh_interval", [0.0, NAN, "5"]),
        ("resolvers", [5, {"mine": 5}]),
        ("snapshot_path", [5]),
        ("max_table_size", [1, 2**23 + 1, 2.5, "3"]),
        ("subset_size", [0, 2**32, 2.5, "3"]),
        ("watch_backoff", [5, "ab", (1.0,), (1.0, "a"), (0.0, 1.0), (2.0, 1.0), (1.0, NAN)]),
        ("zone", [5]),
    ],
)
def test_a_value_that_is_none_of_an_arguments_is_named(name: str, values: list[Any]) -> None:
    for value in values:
        wrong = f"{name} must be .+; got {re.escape(repr(value))}$"
        with pytest.raises(ValueError, match=f"^{wrong}"):
            settings(**{name: value})


def test_every_argument_has_a_rule_or_is_checked_by_its_reader() -> None:
    for name in Keywords.__annotations__:
        bad: dict[str, Any] = {name: object()}
        with pytest.raises((TypeError, ValueError), match=name.replace("_", ".")):
            settings(**bad)


def test_an_idle_timeout_has_a_meaning_for_lazy_channels_alone() -> None:
    with pytest.raises(ValueError, match="idle_timeout has no effect without connect='lazy'"):
        settings(idle_timeout=5.0)


@pytest.mark.parametrize("value", ["x", grpc.ssl_server_credentials([(b"", b"")])])
def test_credentials_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^balancer_credentials must be grpc\.ChannelCredentials"):
        settings(balancer_credentials=value)


@pytest.mark.parametrize("secure", [client_resolver.secure_channel, aio.secure_channel])
@pytest.mark.parametrize("value", [None, "x"])
def test_a_secure_channel_is_never_made_without_credentials(secure: Any, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^credentials must be grpc\.ChannelCredentials"):
        secure("static:///a:1", value)


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


def test_an_argument_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(TypeError, match=r"argument: retries\. Known: balancer_credentials, "):
        settings(retries=3)


def test_none_stands_for_the_default() -> None:
    none: dict[str, Any] = dict.fromkeys(Keywords.__annotations__)
    assert settings(**none) == settings()


def test_keepalive_is_given_in_seconds_and_pings_without_rpcs() -> None:
    found = options_of(settings(keepalive=(10, 2.5)))
    assert found["grpc.keepalive_time_ms"] == 10_000
    assert found["grpc.keepalive_timeout_ms"] == found["grpc.http2.ping_timeout_ms"] == 2_500
    assert found["grpc.keepalive_permit_without_calls"] == 1
    assert found["grpc.http2.max_pings_without_data"] == 0


def test_a_backend_can_be_dialled_in_its_own_way() -> None:
    own = grpc.local_channel_credentials()

    def dial(endpoint: Endpoint) -> Dialing | None:
        if endpoint.address.text != "10.0.0.2:80":
            return None
        return Dialing(credentials=own, authority="other", options=(("grpc.x", 1),))

    found = settings(dial=dial)
    assert options_of(found)["grpc.default_authority"] == "greeter.shop"
    credentials, options = found.dialling(Endpoint(parse_address("10.0.0.2:80")), found.config)
    assert credentials is own
    assert dict(options)["grpc.default_authority"] == "other"
    assert dict(options)["grpc.x"] == 1


def test_the_policy_argument_goes_before_every_config() -> None:
    found = settings(policy="least_request", service_config={"loadBalancingPolicy": "random"})
    assert found.config.policy.name == "least_request"
    assert found.parse('{"loadBalancingPolicy": "random"}').policy.name == "least_request"
    assert not settings(policy="random").own_config


TLS = grpc.ssl_channel_credentials()
NO_TLS = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("backends", [None, TLS])
@pytest.mark.parametrize(
    ("keywords", "sent"),
    [
        ({}, False),
        ({"balancer_credentials": NO_TLS}, False),
        ({"insecure_balancer_token": False}, False),
        ({"balancer_credentials": TLS}, True),
        ({"insecure_balancer_token": True}, True),
    ],
)
def test_a_token_goes_out_in_plain_text_only_where_that_was_asked_for(
    backends: grpc.ChannelCredentials | None, keywords: dict[str, Any], sent: bool
) -> None:
    given: Any = {"balancer_token": "secret", **keywords}
    refused = pytest.raises(ValueError, match="in plain text")
    with nullcontext() if sent else refused:
        Settings.of("lookaside://b:1/greeter", backends, None, None, given)


def test_a_token_for_no_balancer_is_no_matter() -> None:
    keywords: Any = {"balancer_token": "secret"}
    assert Settings.of("static:///10.0.0.1:1", None, None, None, keywords).balancer_token


def test_the_size_of_a_table_is_the_applications_to_raise() -> None:
    sizes = {"minRingSize": 20_000, "maxRingSize": 20_000}
    config = {"loadBalancingConfig": [{"ring_hash": sizes}]}
    made = settings(service_config=config, max_table_size=20_000)
    assert made.config.policy == RingHash(20_000, 20_000)
    # One that the balancer sends is read with the same bound.
    assert made.parse(json.dumps(config)).policy == RingHash(20_000, 20_000)
    assert settings(service_config=config).config.policy == RingHash(4096, 4096)
