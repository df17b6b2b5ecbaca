"""The format of the endpoints file."""

from pathlib import Path

import pytest

from lookaside.errors import ConfigError
from lookaside.model import Endpoint, Health, Locality, ServiceKey, ServicePort
from lookaside.sources.endpoints_file import parse

WHOLE = """\
services:
  greeter.grpc-services:
    endpoints:
      - address: 127.0.0.1:50062
      - address: 127.0.0.1:50061
        weight: 50
        zone: eu-1a
        node: worker-3
        metadata: {version: v2, canary: yes}
  empty.shop:
    endpoints: []
"""


def endpoint(text: str) -> Endpoint:
    [record] = parse(f"services: {{a: {{endpoints: [{text}]}}}}", "f.yaml")
    [only] = record.endpoints[""]
    return only


def test_a_whole_file_is_read() -> None:
    greeter, empty = parse(WHOLE, "f.yaml")

    assert (greeter.key, greeter.ports) == (
        ServiceKey("grpc-services", "greeter"),
        (ServicePort("", 0),),
    )
    assert greeter.endpoints == {
        "": (
            Endpoint(
                "127.0.0.1",
                50061,
                50,
                Health.UNSPECIFIED,
                Locality("eu-1a", "worker-3"),
                (("canary", "yes"), ("version", "v2")),
            ),
            Endpoint("127.0.0.1", 50062, 100, Health.UNSPECIFIED),
        )
    }
    assert (empty.key, empty.endpoints) == (ServiceKey("shop", "empty"), {"": ()})


def test_a_service_may_have_a_service_config() -> None:
    text = """\
services:
  a:
    endpoints: []
    service_config: |
      {"loadBalancingConfig": [{"least_request": {}}]}
  b: {endpoints: [], service_config: ~}
"""
    with_config, without = parse(text, "f.yaml")
    assert with_config.service_config == '{"loadBalancingConfig":[{"least_request":{}}]}'
    assert without.service_config == ""


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (
            "'{\"loadBalancingPolicy\": 5}'",
            "f.yaml:1:47: service 'a': service_config: Expected `str`",
        ),
        ("'{'", "f.yaml:1:47: service 'a': service_config: Input data was truncated"),
        ("{loadBalancingPolicy: x}", "f.yaml:1:47: service 'a': service_config: a mapping"),
    ],
)
def test_a_bad_service_config_is_refused_where_it_stands(config: str, error: str) -> None:
    text = f"services: {{a: {{endpoints: [], service_config: {config}}}}}"
    with pytest.raises(ConfigError) as refused:
        parse(text, "f.yaml")
    assert error in str(refused.value)


def test_the_reference_page_shows_a_file_that_is_taken() -> None:
    page = Path("docs/reference/endpoints-file.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    greeter, empty = parse(example, "page")
    assert [one.target for one in greeter.endpoints[""]] == [
        "127.0.0.1:50061",
        "[2001:db8::7]:50061",
    ]
    assert greeter.service_config
    assert empty.endpoints == {"": ()}


def test_a_service_without_namespace_is_in_the_default_one() -> None:
    text = "services: {a: {endpoints: []}, b.x.svc.corp: {endpoints: []}}"

    records = parse(text, "f.yaml", default_namespace="home", cluster_domain="corp")

    assert [str(record.key) for record in records] == ["a.home", "b.x"]


def test_a_file_may_say_that_there_are_no_services() -> None:
    assert parse("services: {}", "f.yaml") == []
    assert parse("services:\n", "f.yaml") == []


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("10.0.0.1:80", "10.0.0.1", 80),
        ('"[FD00::0:1]:80"', "fd00::1", 80),
        ("Backend-1.Example.COM:65535", "backend-1.example.com", 65535),
        ("localhost:1", "localhost", 1),
    ],
)
def test_addresses_are_put_in_their_canonical_form(address: str, host: str, port: int) -> None:
    found = endpoint(f"{{address: {address}}}")

    assert (found.address, found.port) == (host, port)


@pytest.mark.parametrize(("weight", "expected"), [("0", 0), ("1000000", 1_000_000), ("~", 100)])
def test_weights(weight: str, expected: int) -> None:
    assert endpoint(f"{{address: a:1, weight: {weight}}}").weight == expected


def test_an_alias_shares_what_an_anchor_names() -> None:
    text = """\
services:
  a:
    endpoints:
      - {address: "a:1", metadata: &meta {version: v1}}
      - {address: "b:1", metadata: *meta}
"""
    [record] = parse(text, "f.yaml")

    assert {each.metadata for each in record.endpoints[""]} == {(("version", "v1"),)}


def of_endpoint(text: str) -> str:
    return f"services:\n  a:\n    endpoints:\n      - {text}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "f.yaml:1:1: the file is empty; expected the key 'services'"),
        ("# nothing\n", "f.yaml:1:1: the file is empty; expected the key 'services'"),
        ("[]", "f.yaml:1:1: the file is a list; expected a mapping"),
        ("{}", "f.yaml:1:1: the key 'services' is missing"),
        (
            "service: {}",
            "f.yaml:1:1: unknown key 'service'; did you mean 'services'?",
        ),
        ("services: [a]", "f.yaml:1:11: services is a list; expected a mapping"),
        (
            "services:\n  a: {}",
            "f.yaml:2:6: service 'a': the key 'endpoints' is missing; [] is for none",
        ),
        ("services:\n  a:", "f.yaml:2:5: service 'a' is nothing; expected a mapping"),
        (
            "services:\n  a:\n    endpoints:\n",
            "f.yaml:3:15: service 'a': nothing as its endpoints; expected a list, [] for none",
        ),
        (
            "services:\n  a: {endpoint: []}",
            "f.yaml:2:7: unknown key 'endpoint'; did you mean 'endpoints'?",
        ),
        (
            "services:\n  A_b: {endpoints: []}",
            (
                "f.yaml:2:3: service name 'A_b': 'A_b' is not a DNS label; expected "
                "NAME[.NAMESPACE[.svc[.CLUSTER_DOMAIN]]][:PORT]"
            ),
        ),
        (
            "services:\n  a:http: {endpoints: []}",
            "f.yaml:2:3: service name 'a:http': a service has no port in this file",
        ),
        (
            "services:\n  a: {endpoints: []}\n  a.default: {endpoints: []}",
            "f.yaml:3:3: the service a.default is given a second time",
        ),
        (
            "services:\n  a: {endpoints: []}\n  a: {endpoints: []}",
            "f.yaml:3:3: the key 'a' is given here and in line 2",
        ),
        (
            of_endpoint("10.0.0.1:80"),
            "f.yaml:4:9: service 'a': an endpoint is '10.0.0.1:80'; expected a mapping",
        ),
        (
            of_endpoint("weight: 1"),
            (
                "f.yaml:4:9: service 'a': the key 'address' is missing; expected HOST:PORT, "
                "an IPv6 address in brackets"
            ),
        ),
        (
            of_endpoint("{address: 'a:1', wieght: 1}"),
            "f.yaml:4:26: unknown key 'wieght'; did you mean 'weight'?",
        ),
        (
            of_endpoint("{address: 10.0.0.1}"),
            "f.yaml:4:19: address '10.0.0.1': expected HOST:PORT, an IPv6 address in brackets",
        ),
        (
            of_endpoint("{address: '::1:80'}"),
            "f.yaml:4:19: address '::1:80': expected HOST:PORT, an IPv6 address in brackets",
        ),
        (
            of_endpoint("{address: 'a:0'}"),
            "f.yaml:4:19: address 'a:0': port 0 is not within 1 to 65535",
        ),
        (
            of_endpoint("{address: 'a:65536'}"),
            "f.yaml:4:19: address 'a:65536': port 65536 is not within 1 to 65535",
        ),
        (
            of_endpoint("{address: 'a_b:1'}"),
            "f.yaml:4:19: address 'a_b:1': 'a_b' is neither an IP address nor a host name",
        ),
        (
            of_endpoint("{address: '[10.0.0.1]:1'}"),
            "f.yaml:4:19: address '[10.0.0.1]:1': brackets are for IPv6 addresses",
        ),
        (
            of_endpoint("{address: 'a:1', weight: -1}"),
            "f.yaml:4:34: weight '-1': expected a whole number, 0 to 1000000",
        ),
        (
            of_endpoint("{address: 'a:1', weight: 1000001}"),
            "f.yaml:4:34: weight '1000001': expected a whole number, 0 to 1000000",
        ),
        (
            of_endpoint("{address: 'a:1', weight: 1.5}"),
            "f.yaml:4:34: weight '1.5': expected a whole number, 0 to 1000000",
        ),
        (
            of_endpoint("{address: 'a:1', zone: [x]}"),
            "f.yaml:4:32: zone: a list; expected text",
        ),
        (
            of_endpoint("{address: 'a:1', metadata: x}"),
            "f.yaml:4:36: metadata is 'x'; expected a mapping",
        ),
        (
            of_endpoint("{address: 'a:1', metadata: {k: {}}}"),
            "f.yaml:4:40: k: a mapping; expected text",
        ),
        (
            of_endpoint("{address: 'A:1'}") + "      - {address: 'a:1'}\n",
            "f.yaml:5:9: service 'a': the address a:1 is given twice",
        ),
    ],
)
def test_a_broken_file_is_refused_by_place_and_reason(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text, "f.yaml")

    assert str(refused.value) == sentence
