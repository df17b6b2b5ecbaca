import pytest

from lookaside.errors import InvalidServiceName
from lookaside.model import Endpoint, ServiceKey, ServiceName, canonical_host


@pytest.mark.parametrize(
    ("text", "namespace", "name", "port"),
    [
        ("greeter", "default", "greeter", ""),
        ("greeter.shop", "shop", "greeter", ""),
        ("greeter.shop.svc", "shop", "greeter", ""),
        ("greeter.shop.svc.cluster.local", "shop", "greeter", ""),
        ("greeter.shop.svc.cluster.local.", "shop", "greeter", ""),
        ("greeter.shop.svc.cluster.local.:80", "shop", "greeter", "80"),
        ("greeter:grpc", "default", "greeter", "grpc"),
        ("greeter.shop:50051", "shop", "greeter", "50051"),
        ("greeter.shop.svc.cluster.local:grpc", "shop", "greeter", "grpc"),
    ],
)
def test_a_name_is_read_in_all_its_forms(text: str, namespace: str, name: str, port: str) -> None:
    assert ServiceName.parse(text) == ServiceName(ServiceKey(namespace, name), port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is not a DNS label"),
        ("Greeter", "'Greeter' is not a DNS label"),
        ("-greeter", "'-greeter' is not a DNS label"),
        ("a" * 64, "is not a DNS label"),
        ("greeter.", "cluster domain 'cluster.local'"),
        ("greeter.shop.", "cluster domain 'cluster.local'"),
        ("greeter.shop.svc.cluster.local..", "cluster domain 'cluster.local'"),
        ("greeter..svc", "'' is not a DNS label"),
        ("greeter.shop.pod", "cluster domain 'cluster.local'"),
        ("greeter.shop.svc.", "cluster domain 'cluster.local'"),
        ("greeter.shop.svc.other.domain", "cluster domain 'cluster.local'"),
        ("greeter:", "'' is no port name or number"),
        ("greeter:0", "0 is not within 1 to 65535"),
        ("greeter:65536", "65536 is not within 1 to 65535"),
        ("greeter:a:b", "'a:b' is no port name or number"),
        ("greeter shop", "'greeter shop' is not a DNS label"),
        ("grüßer", "'grüßer' is not a DNS label"),
        ("greeter:५", "'५' is no port name or number"),
    ],
)
def test_a_malformed_name_is_refused_with_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(InvalidServiceName, match="service name") as caught:
        ServiceName.parse(text)
    assert reason in str(caught.value)


def test_the_default_namespace_and_the_cluster_domain_are_settings() -> None:
    parsed = ServiceName.parse("greeter", default_namespace="shop")
    assert parsed.key == ServiceKey("shop", "greeter")
    parsed = ServiceName.parse("greeter.shop.svc.corp.example", cluster_domain="corp.example")
    assert parsed.key == ServiceKey("shop", "greeter")


def test_a_name_is_written_in_full() -> None:
    assert str(ServiceName.parse("greeter")) == "greeter.default"
    assert str(ServiceName.parse("greeter.shop.svc:grpc")) == "greeter.shop:grpc"


def test_an_endpoint_tells_what_to_dial() -> None:
    assert Endpoint("10.0.0.1", 50051).target == "10.0.0.1:50051"
    assert Endpoint("fd00::1", 50051).target == "[fd00::1]:50051"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("FD00:0::1", "fd00::1"),
        ("Backend.Example", "backend.example"),
        ("backend.example.", "backend.example"),
    ],
)
def test_a_host_has_one_canonical_form(text: str, canonical: str) -> None:
    assert canonical_host(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "10.0.0.300", "10.0.0", "a..b", "a b", "[::1]", "under_score"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither an IP address nor a host name"):
        canonical_host(text)
