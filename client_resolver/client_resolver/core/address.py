"""Addresses of backends: `HOST:PORT` as people and balancers write it, and as C-core dials it."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

__all__ = ["Address", "parse_address", "parse_local"]

_PATH_LIMIT = 107
"""Bytes of a local socket's path: `sockaddr_un` of Linux has 108, with a zero at the end."""
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class Address:
    """One address to dial.

    Attributes:
        text: `HOST:PORT`, an IPv6 address in brackets, or a socket of this machine as `parse_local`
            reads it: the backend's name everywhere.
        target: The gRPC target that dials it.
    """

    text: str
    target: str


def parse_address(text: str) -> Address:
    """Read `IPV4:PORT`, `[IPV6]:PORT` or `HOSTNAME:PORT`.

    Raises:
        ValueError: The text is something else. The message says what is wrong.
    """
    host, colon, digits = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not HOST:PORT")
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= 65535):
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    port = int(digits)
    if host.startswith("[") and host.endswith("]"):
        try:
            # C-core takes `ipv6:[::1]:80` and refuses `ipv6:::1:80`.
            inner = f"[{IPv6Address(host[1:-1])}]:{port}"
        except AddressValueError as error:
            raise ValueError(f"{text!r} has no IPv6 address in its brackets") from error
        return Address(inner, f"ipv6:{inner}")
    if ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address must be in brackets")
    if re.fullmatch(r"[0-9.]+", host):
        try:
            inner = f"{IPv4Address(host)}:{port}"
        except AddressValueError as error:
            raise ValueError(f"{text!r} has a malformed IPv4 address") from error
        return Address(inner, f"ipv4:{inner}")
    name = host.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{text!r} has a malformed host name")
    return Address(f"{host}:{port}", f"dns:///{host}:{port}")


def parse_local(text: str) -> Address | None:
    """Read `unix:PATH`, `unix:///PATH` or `unix-abstract:NAME`, gRPC's names of local sockets.

    For what the application itself names: what a balancer lists is never one.

    Returns:
        The address. None: the text is no such name.

    Raises:
        ValueError: It begins like one and isn't. The message says what is wrong.
    """
    scheme, colon, path = text.partition(":")
    if not colon or scheme not in {"unix", "unix-abstract"}:
        return None
    if scheme == "unix" and path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise ValueError(f"{text!r}: after unix:// comes an absolute path")
    if not 1 <= len(path.encode()) <= _PATH_LIMIT or "\0" in path:
        raise ValueError(f"{text!r} has no path of 1 to {_PATH_LIMIT} bytes")
    name = f"{scheme}:{path}"
    return Address(name, name)
