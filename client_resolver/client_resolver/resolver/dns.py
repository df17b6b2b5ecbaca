"""Resolves a name with the system's resolver into a list of backends."""

import hashlib
from collections.abc import Iterable
from typing import TypeAlias

from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, Revision, ServerList, SetAside

__all__ = ["Found", "read"]

Found: TypeAlias = tuple[object, object, object, str, tuple[object, ...]]
"""One entry of what `socket.getaddrinfo` returns."""


def read(found: Iterable[Found]) -> ServerList:
    """Make a list of the addresses that `socket.getaddrinfo` has found.

    They keep the order that it gives them (RFC 6724, and the DNS server's). As servers rotate their
    answers, the revision's digest leaves the order out: the same addresses are the same list.
    """
    endpoints: dict[str, Endpoint] = {}
    set_aside: list[SetAside] = []
    for *_, sockaddr in found:
        host, port = sockaddr[0], sockaddr[1]
        text = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
        try:
            address = parse_address(text)
        except ValueError as error:
            set_aside.append(SetAside(text, str(error)))
        else:
            endpoints.setdefault(address.text, Endpoint(address))
    digest = hashlib.blake2s("\n".join(sorted(endpoints)).encode(), digest_size=8).hexdigest()
    return ServerList(
        tuple(endpoints.values()), revision=Revision(digest), set_aside=tuple(set_aside)
    )
