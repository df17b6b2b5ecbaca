"""Channel targets: `lookaside://BALANCER/SERVICE` and `static:///A:P,B:P`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from client_resolver.core.address import Address, parse_address
from client_resolver.errors import TargetError

__all__ = ["ADDRESS_VARIABLE", "LookasideTarget", "StaticTarget", "Target", "parse_target"]

ADDRESS_VARIABLE = "LOOKASIDE_ADDRESS"
"""The environment variable that names the balancer where a target doesn't."""

_FORMS = (
    "lookaside://BALANCER_HOST:PORT/SERVICE, lookaside:///SERVICE with "
    f"{ADDRESS_VARIABLE}=HOST:PORT, static:///HOST:PORT,HOST:PORT"
)
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SERVICE = re.compile(
    rf"(?P<host>{_LABEL}(?:\.{_LABEL}(?:\.svc(?:\.{_LABEL})*)?)?)(?::(?P<port>{_LABEL}))?"
)


@dataclass(frozen=True, slots=True)
class LookasideTarget:
    """A service whose backends a balancer lists.

    Attributes:
        text: The target as it was given.
        balancer: Where the balancer is.
        service: `NAME[.NAMESPACE[.svc[.CLUSTER_DOMAIN]]][:PORT]`.
    """

    text: str
    balancer: Address
    service: str

    @property
    def authority(self) -> str:
        """The service without its port: what `:authority` and TLS server names default to."""
        return self.service.partition(":")[0]


@dataclass(frozen=True, slots=True)
class StaticTarget:
    """A fixed list of backends.

    Attributes:
        text: The target as it was given.
        addresses: The backends.
    """

    text: str
    addresses: tuple[Address, ...]


Target: TypeAlias = LookasideTarget | StaticTarget


def parse_target(text: str, environ: Mapping[str, str]) -> Target:
    """Read a channel's target.

    Args:
        text: The target.
        environ: The environment, for `LOOKASIDE_ADDRESS`.

    Raises:
        TargetError: It cannot be understood. The message names it and the known forms.
    """
    scheme, separator, rest = text.partition("://")
    parse = _SCHEMES.get(scheme) if separator else None
    if parse is None:
        raise TargetError(f"target {text!r}: unknown scheme. Known forms: {_FORMS}")
    authority, slash, path = rest.partition("/")
    if not slash or not path:
        raise TargetError(f"target {text!r}: nothing after the third slash. Known forms: {_FORMS}")
    try:
        return parse(text, authority, path, environ)
    except ValueError as error:
        raise TargetError(f"target {text!r}: {error}. Known forms: {_FORMS}") from error


def _lookaside(text: str, authority: str, path: str, environ: Mapping[str, str]) -> Target:
    balancer = authority or environ.get(ADDRESS_VARIABLE, "")
    if not balancer:
        raise ValueError(f"no balancer is named, and {ADDRESS_VARIABLE} is not set")
    if _SERVICE.fullmatch(path) is None:
        raise ValueError(f"{path!r} is not NAME[.NAMESPACE[.svc[.CLUSTER_DOMAIN]]][:PORT]")
    return LookasideTarget(text, parse_address(balancer), path)


def _static(text: str, authority: str, path: str, _environ: Mapping[str, str]) -> Target:
    if authority:
        raise ValueError("a static target has three slashes and no authority")
    addresses = tuple(parse_address(part.strip()) for part in path.split(","))
    if len(set(addresses)) != len(addresses):
        raise ValueError("an address stands in it twice")
    return StaticTarget(text, addresses)


_SCHEMES: Mapping[str, Callable[[str, str, str, Mapping[str, str]], Target]] = MappingProxyType(
    {"lookaside": _lookaside, "static": _static}
)
