import pytest

from client_resolver.core.address import parse_address
from client_resolver.errors import ResolverError, TargetError
from client_resolver.target import LookasideTarget, StaticTarget, parse_target


@pytest.mark.parametrize(
    "service",
    [
        "greeter",
        "greeter.shop",
        "greeter.shop.svc",
        "greeter.shop.svc.cluster.local",
        "greeter:50051",
        "greeter.shop:grpc",
        "greeter.shop.svc.cluster.local:grpc-web",
    ],
)
def test_lookaside_targets_are_read(service: str) -> None:
    target = parse_target(f"lookaside://balancer.infra:50052/{service}", {})
    assert isinstance(target, LookasideTarget)
    assert target.balancer == parse_address("balancer.infra:50052")
    assert target.service == service
    assert target.authority == service.partition(":")[0]


def test_the_environment_names_the_balancer_where_the_target_does_not() -> None:
    target = parse_target("lookaside:///greeter", {"LOOKASIDE_ADDRESS": "[::1]:50052"})
    assert isinstance(target, LookasideTarget)
    assert target.balancer.text == "[::1]:50052"


def test_static_targets_are_read() -> None:
    target = parse_target("static:///10.0.0.1:80, [::1]:81,host:82", {})
    assert isinstance(target, StaticTarget)
    assert [address.text for address in target.addresses] == ["10.0.0.1:80", "[::1]:81", "host:82"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "unknown scheme"),
        ("greeter:50051", "unknown scheme"),
        ("xds:///greeter", "unknown scheme"),
        ("lookaside:greeter", "unknown scheme"),
        ("lookaside://b:1", "nothing after the third slash"),
        ("lookaside://b:1/", "nothing after the third slash"),
        ("lookaside:///greeter", "LOOKASIDE_ADDRESS is not set"),
        ("lookaside://b/greeter", "not HOST:PORT"),
        ("lookaside://b:1/Greeter", "'Greeter' is not NAME"),
        ("lookaside://b:1/a.b.c", "'a.b.c' is not NAME"),
        ("lookaside://b:1/a/b", "'a/b' is not NAME"),
        ("lookaside://b:1/a:", "'a:' is not NAME"),
        ("static:///", "nothing after the third slash"),
        ("static://a:1/b:1", "no authority"),
        ("static:///a", "not HOST:PORT"),
        ("static:///a:1,", "not HOST:PORT"),
        ("static:///a:1,a:1", "twice"),
    ],
)
def test_a_bad_target_is_named_with_the_known_forms(text: str, why: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(text, {})
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ResolverError)
    message = str(caught.value)
    assert why in message
    assert repr(text) in message
    assert "lookaside://BALANCER_HOST:PORT/SERVICE" in message
    assert "static:///HOST:PORT" in message
