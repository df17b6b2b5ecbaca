from typing import Any

import pytest

from client_resolver.config.target import (
    CustomTarget,
    DnsTarget,
    LookasideTarget,
    StaticTarget,
    identity,
    parse_fallback,
    parse_target,
)
from client_resolver.core.address import parse_address
from client_resolver.errors import ResolverError, TargetError

BALANCER = {"LOOKASIDE_ADDRESS": "lb:50052"}


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
    assert target.balancers == (parse_address("balancer.infra:50052"),)
    assert target.service == service
    assert target.authority == service.partition(":")[0]


def test_the_environment_names_the_balancer_where_the_target_does_not() -> None:
    target = parse_target("lookaside:///greeter", {"LOOKASIDE_ADDRESS": "[::1]:50052"})
    assert isinstance(target, LookasideTarget)
    assert [balancer.text for balancer in target.balancers] == ["[::1]:50052"]


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("lookaside://a:1,[::1]:2/greeter", {}),
        ("lookaside:///greeter", {"LOOKASIDE_ADDRESS": "a:1, [::1]:2"}),
    ],
)
def test_several_balancers_may_be_named(text: str, environ: dict[str, str]) -> None:
    target = parse_target(text, environ)
    assert isinstance(target, LookasideTarget)
    assert [balancer.text for balancer in target.balancers] == ["a:1", "[::1]:2"]
    assert target.source == "balancers a:1, [::1]:2"


@pytest.mark.parametrize(
    ("text", "host", "port", "authority"),
    [
        ("dns:///greeter.shop:50051", "greeter.shop", 50051, "greeter.shop:50051"),
        ("dns:greeter.shop:50051", "greeter.shop", 50051, "greeter.shop:50051"),
        ("dns:///[::1]:80", "::1", 80, "[::1]:80"),
        ("dns:127.0.0.1:80", "127.0.0.1", 80, "127.0.0.1:80"),
    ],
)
def test_dns_targets_are_read(text: str, host: str, port: int, authority: str) -> None:
    target = parse_target(text, {})
    assert isinstance(target, DnsTarget)
    assert (target.host, target.port, target.authority) == (host, port, authority)
    assert target.source == f"DNS name {authority}"


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("kubernetes:///greeter.shop:grpc", "greeter.shop:grpc"),
        ("kubernetes:///greeter.shop:8080", "greeter.shop:8080"),
        ("kubernetes:///greeter.shop", "greeter.shop"),
        ("kubernetes:///greeter:8080", "greeter:8080"),
        (
            "kubernetes:///greeter.shop.svc.cluster.local:grpc",
            "greeter.shop.svc.cluster.local:grpc",
        ),
        ("kubernetes://shop/greeter:grpc", "greeter.shop:grpc"),
        ("kubernetes://shop/greeter", "greeter.shop"),
        ("kubernetes://greeter.shop:8080", "greeter.shop:8080"),
        ("kubernetes://greeter.shop:8080/", "greeter.shop:8080"),
        ("kubernetes://greeter:8080/", "greeter:8080"),
    ],
)
def test_the_forms_of_kuberesolver_ask_a_balancer_for_the_service(text: str, service: str) -> None:
    target = parse_target(text, BALANCER)
    assert isinstance(target, LookasideTarget)
    assert target.text == text
    assert target.service == service
    assert [balancer.text for balancer in target.balancers] == ["lb:50052"]


@pytest.mark.parametrize("text", ["consul:///web", "consul://agent:8500/web", "consul://"])
def test_a_scheme_of_the_users_is_left_to_the_resolver(text: str) -> None:
    target = parse_target(text, {}, {"consul": None})
    assert target == CustomTarget(text, "consul")
    assert target.authority == ""
    assert target.source == "resolver 'consul'"


@pytest.mark.parametrize(
    "scheme", ["dns", "lookaside", "static", "kubernetes", "Consul", "a b", ""]
)
def test_a_resolver_takes_no_scheme_that_is_taken_or_is_none(scheme: str) -> None:
    with pytest.raises(TargetError, match=f"resolver '{scheme}'"):
        parse_target("static:///a:1", {}, {scheme: None})


def test_the_schemes_of_the_users_stand_among_the_known_forms() -> None:
    with pytest.raises(TargetError, match="consul://"):
        parse_target("etcd:///web", {}, {"consul": None})


@pytest.mark.parametrize("text", ["dns:///greeter:80", "dns:greeter:80", "static:///a:1,b:2"])
def test_a_fallback_is_a_dns_or_a_static_target(text: str) -> None:
    assert parse_fallback(text, parse_target("lookaside:///greeter", BALANCER)).text == text


@pytest.mark.parametrize(
    ("text", "target", "why"),
    [
        ("lookaside://a:1/greeter", "lookaside:///greeter", "dns:///HOST:PORT or static:///"),
        ("greeter:80", "lookaside:///greeter", "unknown scheme"),
        ("dns:///greeter:80", "dns:///other:80", "only a lookaside target has one"),
    ],
)
def test_any_other_fallback_is_refused(text: str, target: str, why: str) -> None:
    with pytest.raises(TargetError, match=why) as caught:
        parse_fallback(text, parse_target(target, BALANCER))
    assert repr(text) in str(caught.value)


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
        ("lookaside://b:1,/greeter", "not HOST:PORT"),
        ("lookaside://b:1,b:1/greeter", "twice"),
        ("dns://8.8.8.8/greeter:80", "'8.8.8.8' would be the DNS server to ask"),
        ("dns:///greeter", "not HOST:PORT"),
        ("dns:greeter", "not HOST:PORT"),
        ("dns:", "nothing after the third slash"),
        ("dns:///", "nothing after the third slash"),
        ("dns:///gree ter:80", "malformed host name"),
        ("kubernetes:///greeter.shop", "LOOKASIDE_ADDRESS is not set"),
        ("kubernetes://", "nothing after the third slash"),
        ("kubernetes:greeter", "unknown scheme"),
        ("static:a:1", "unknown scheme"),
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
    assert "lookaside://BALANCER_HOST:PORT[,HOST:PORT]/SERVICE" in message
    assert "dns:///HOST:PORT" in message
    assert "static:///HOST:PORT" in message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kubernetes://shop/greeter.other:80", "'shop' is the namespace"),
        ("kubernetes://shop.svc/greeter", "'shop.svc' before the third slash is not the name"),
        ("kubernetes:///a.b.c:80", "'a.b.c:80' is not NAME"),
        ("kubernetes:///Greeter:80", "'Greeter:80' is not NAME"),
        ("kubernetes://shop/greeter:", "'greeter.shop:' is not NAME"),
    ],
)
def test_a_kuberesolver_target_without_a_service_is_refused_with_the_reason(
    text: str, why: str
) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(text, BALANCER)
    assert why in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "environ", "known_as"),
    [
        ("lookaside:///greeter", BALANCER, "lookaside://lb:50052/greeter"),
        ("lookaside:///greeter", {"LOOKASIDE_ADDRESS": "b:1,a:1"}, "lookaside://a:1,b:1/greeter"),
        ("lookaside://a:1,b:1/greeter", {}, "lookaside://a:1,b:1/greeter"),
        ("kubernetes://shop/greeter:80", BALANCER, "lookaside://lb:50052/greeter.shop:80"),
        ("dns:greeter:80", {}, "dns:greeter:80"),
        ("static:///a:1", {}, "static:///a:1"),
    ],
)
def test_a_target_is_known_by_what_it_asks_for(
    text: str, environ: dict[str, str], known_as: str
) -> None:
    assert identity(parse_target(text, environ)) == known_as


@pytest.mark.parametrize("target", [None, 5, b"static:///a:1"])
def test_a_target_that_is_no_text_is_refused_with_the_forms(target: Any) -> None:
    with pytest.raises(TargetError, match=r"must be str, not .*\. Known forms: lookaside://"):
        parse_target(target, {})


def test_static_targets_and_fallbacks_name_sockets_of_this_machine() -> None:
    text = "static:///unix:/run/a.sock,unix-abstract:b,10.0.0.1:80"
    target = parse_target(text, {})
    assert isinstance(target, StaticTarget)
    names = ["unix:/run/a.sock", "unix-abstract:b", "10.0.0.1:80"]
    assert [address.text for address in target.addresses] == names
    fallback = parse_fallback(text, parse_target("lookaside://b:1/greeter", {}))
    assert isinstance(fallback, StaticTarget)
    assert fallback.addresses == target.addresses


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("static:///unix:", "no path"),
        ("static:///unix:/a,unix:///a", "is given twice"),
        ("dns:///unix:/a", "no port"),
        ("lookaside:///greeter", "no port"),
    ],
)
def test_other_targets_name_no_sockets_of_this_machine(text: str, why: str) -> None:
    with pytest.raises(TargetError, match=why):
        parse_target(text, {"LOOKASIDE_ADDRESS": "unix:/run/balancer.sock"})
