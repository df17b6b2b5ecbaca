import socket

import pytest

from client_resolver.resolver.dns import Found, read


def found(*hosts: str, port: int = 80) -> list[Found]:
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))
        if ":" in host
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
        for host in hosts
    ]


def test_each_address_is_a_backend_once_in_the_order_given() -> None:
    listed = read(found("10.0.0.2", "fd00::1", "10.0.0.1", "10.0.0.2"))
    assert [(e.address.text, e.address.target) for e in listed.endpoints] == [
        ("10.0.0.2:80", "ipv4:10.0.0.2:80"),
        ("[fd00::1]:80", "ipv6:[fd00::1]:80"),
        ("10.0.0.1:80", "ipv4:10.0.0.1:80"),
    ]
    assert listed.set_aside == ()


def test_a_rotated_answer_is_the_same_list() -> None:
    first, second = read(found("10.0.0.1", "10.0.0.2")), read(found("10.0.0.2", "10.0.0.1"))
    assert first.endpoints != second.endpoints
    assert first.revision == second.revision
    assert first.revision.digest


@pytest.mark.parametrize("other", [found("10.0.0.1"), found("10.0.0.1", "10.0.0.2", port=81), []])
def test_another_answer_is_another_list(other: list[Found]) -> None:
    assert read(other).revision != read(found("10.0.0.1", "10.0.0.2")).revision


def test_an_address_that_cannot_be_read_is_set_aside() -> None:
    listed = read(found("10.0.0.1", "10.0.0.999"))
    assert len(listed.endpoints) == 1
    assert [one.address for one in listed.set_aside] == ["10.0.0.999:80"]


def test_what_the_system_says_of_localhost_is_read() -> None:
    listed = read(socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))
    assert listed.endpoints
    assert not listed.set_aside
