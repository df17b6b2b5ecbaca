"""Custom resolvers: the records they return, and their checks."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from types import MappingProxyType
from typing import TypeAlias

from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, ServerList, SetAside

__all__ = ["Answer", "Resolve", "Server", "listed"]


@dataclass(frozen=True, slots=True)
class Server:
    """A backend with more data than its address.

    Attributes:
        address: `HOST:PORT` to dial; an IPv6 address is in brackets.
        weight: Its share of requests relative to the others. 0: none.
        zone: The zone it runs in. Empty: unknown.
        node: The node it runs on. Empty: unknown.
        metadata: What else is known of it, for policies and `dial`.
    """

    address: str
    weight: int = 1
    zone: str = ""
    node: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


Answer: TypeAlias = Iterable[str | Server | Endpoint]
"""The backends, each as `HOST:PORT` or with more than that. None at all is an answer, too."""

Resolve: TypeAlias = Callable[[str], Answer | Awaitable[Answer]]
"""Returns the backends of a target, which is given as the channel got it."""


def listed(answer: Answer) -> ServerList:
    """Check what a resolver has returned. What is malformed in it is set aside, the rest is used.

    Raises:
        TypeError: It isn't backends at all.
    """
    if isawaitable(answer):
        close = getattr(answer, "close", None)
        if close is not None:
            close()
        raise TypeError("a coroutine function is a resolver in client_resolver.aio alone")
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise TypeError(f"{answer!r} was returned, and an iterable of addresses is wanted")
    endpoints: dict[str, Endpoint] = {}
    set_aside: list[SetAside] = []
    for one in answer:
        try:
            endpoint = _endpoint(one)
        except ValueError as error:
            set_aside.append(SetAside(_name(one), str(error)))
            continue
        if endpoint.address.text in endpoints:
            set_aside.append(SetAside(_name(one), f"{_name(one)!r} is listed twice"))
        else:
            endpoints[endpoint.address.text] = endpoint
    return ServerList(tuple(endpoints.values()), set_aside=tuple(set_aside))


def _endpoint(one: str | Server | Endpoint) -> Endpoint:
    if isinstance(one, Endpoint):
        return one
    if isinstance(one, str):
        return Endpoint(parse_address(one))
    if not isinstance(one, Server):
        raise TypeError(f"{one!r} is neither 'HOST:PORT' nor a client_resolver.resolver.Server")
    if one.weight < 0:
        raise ValueError(f"{one.address!r} has the negative weight {one.weight}")
    return Endpoint(
        address=parse_address(one.address),
        weight=one.weight,
        metadata=tuple(sorted(one.metadata.items())),
        zone=one.zone,
        node=one.node,
    )


def _name(one: str | Server | Endpoint) -> str:
    if isinstance(one, Endpoint):
        return one.address.text
    return one if isinstance(one, str) else one.address
