import pytest

from client_resolver.core.address import parse_address, parse_local


@pytest.mark.parametrize(
    ("text", "normal", "target"),
    [
        ("10.0.0.1:80", "10.0.0.1:80", "ipv4:10.0.0.1:80"),
        ("[::1]:80", "[::1]:80", "ipv6:[::1]:80"),
        ("[2001:DB8:0::1]:443", "[2001:db8::1]:443", "ipv6:[2001:db8::1]:443"),
        ("localhost:80", "localhost:80", "dns:///localhost:80"),
        ("a-b.c_d.example.:80", "a-b.c_d.example.:80", "dns:///a-b.c_d.example.:80"),
    ],
)
def test_addresses_are_read(text: str, normal: str, target: str) -> None:
    address = parse_address(text)
    assert (address.text, address.target) == (normal, target)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not HOST:PORT"),
        ("10.0.0.1", "not HOST:PORT"),
        (":80", "not HOST:PORT"),
        ("host:", "no port"),
        ("host:0", "no port"),
        ("host:65536", "no port"),
        ("host:http", "no port"),
        ("host:٣", "no port"),
        ("::1:80", "must be in brackets"),
        ("[::g]:80", "no IPv6 address"),
        ("256.1.1.1:80", "malformed IPv4"),
        ("1.2.3:80", "malformed IPv4"),
        ("-a.b:80", "malformed host name"),
        ("a..b:80", "malformed host name"),
        ("a/b:80", "malformed host name"),
    ],
)
def test_what_is_malformed_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("unix:/run/greeter.sock", "unix:/run/greeter.sock"),
        ("unix:///run/greeter.sock", "unix:/run/greeter.sock"),
        ("unix:greeter.sock", "unix:greeter.sock"),
        ("unix-abstract:greeter", "unix-abstract:greeter"),
    ],
)
def test_sockets_of_this_machine_are_read(text: str, normal: str) -> None:
    address = parse_local(text)
    assert address is not None
    assert (address.text, address.target) == (normal, normal)


@pytest.mark.parametrize("text", ["10.0.0.1:80", "host:80", "unix", "unixes:80", ""])
def test_what_is_no_socket_of_this_machine_is_another_address(text: str) -> None:
    assert parse_local(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("unix:", "no path"),
        ("unix-abstract:", "no path"),
        ("unix://run/greeter.sock", "an absolute path"),
        ("unix:/" + "x" * 107, "no path of 1 to 107 bytes"),
        ("unix:/a\0b", "no path"),
    ],
)
def test_a_malformed_socket_of_this_machine_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_local(text)


@pytest.mark.parametrize("text", ["unix:/run/greeter.sock", "unix-abstract:greeter"])
def test_nobody_else_names_sockets_of_this_machine(text: str) -> None:
    with pytest.raises(ValueError, match="no port"):
        parse_address(text)
