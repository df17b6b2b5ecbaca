"""Channel targets: `lookaside://`, `kubernetes://`, `dns:`, `static:///`, and users' own."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from client_resolver.core.address import Address, parse_address, parse_local
from client_resolver.errors import TargetError

__all__ = [
    "ADDRESS_VARIABLE",
    "CustomTarget",
    "DnsTarget",
    "LookasideTarget",
    "StaticTarget",
    "Target",
    "identity",
    "parse_fallback",
    "parse_target",
]

ADDRESS_VARIABLE = "LOOKASIDE_ADDRESS"
"""The environment variable that names the balancers where a target doesn't."""

_FORMS = (
    "lookaside://BALANCER_HOST:PORT[,HOST:PORT]/SERVICE, lookaside:///SERVICE with "
    f"{ADDRESS_VARIABLE}=HOST:PORT[,HOST:PORT], kubernetes:///SERVICE with the same, "
    "dns:///HOST:PORT, static:///HOST:PORT,HOST:PORT, static:///unix:PATH"
)
_SERVICE_FORM = "NAME[.NAMESPACE[.svc[.CLUSTER_DOMAIN]]][:PORT]"
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SERVICE = re.compile(
    rf"(?P<host>{_LABEL}(?:\.{_LABEL}(?:\.svc(?:\.{_LABEL})*)?)?)(?::(?P<port>{_LABEL}))?"
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


@dataclass(frozen=True, slots=True)
class LookasideTarget:
    """A service whose backends a balancer lists.

    Attributes:
        text: The target as it was given.
        balancers: Where the balancers are: any of them may be asked.
        service: `NAME[.NAMESPACE[.svc[.CLUSTER_DOMAIN]]][:PORT]`.
    """

    text: str
    balancers: tuple[Address, ...]
    service: str

    @property
    def authority(self) -> str:
        """The service without its port: what `:authority` and TLS server names default to."""
        return self.service.partition(":")[0]

    @property
    def source(self) -> str:
        """Who lists the backends, in words."""
        names = ", ".join(address.text for address in self.balancers)
        return f"balancer{'s' if len(self.balancers) > 1 else ''} {names}"


@dataclass(frozen=True, slots=True)
class DnsTarget:
    """A name whose addresses are the backends, as a headless Service has it.

    Attributes:
        text: The target as it was given.
        address: The name and the port.
    """

    text: str
    address: Address

    @property
    def host(self) -> str:
        """The name, or an IP address without brackets."""
        return self.address.text.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port of every backend."""
        return int(self.address.text.rpartition(":")[2])

    @property
    def authority(self) -> str:
        """`HOST:PORT`: the default of `:authority`, and, less the port, of TLS server names."""
        return self.address.text

    @property
    def source(self) -> str:
        """Who lists the backends, in words."""
        return f"DNS name {self.address.text}"


@dataclass(frozen=True, slots=True)
class StaticTarget:
    """A fixed list of backends.

    Attributes:
        text: The target as it was given.
        addresses: The backends.
    """

    text: str
    addresses: tuple[Address, ...]

    @property
    def authority(self) -> str:
        """Empty: each backend has its own address as authority."""
        return ""

    @property
    def source(self) -> str:
        """Who lists the backends, in words."""
        return "the target itself"


@dataclass(frozen=True, slots=True)
class CustomTarget:
    """A target with a custom resolver.

    Attributes:
        text: The target as it was given, which is what the resolver gets.
        scheme: The resolver's name.
    """

    text: str
    scheme: str

    @property
    def authority(self) -> str:
        """Empty: each backend has its own address as authority."""
        return ""

    @property
    def source(self) -> str:
        """Who lists the backends, in words."""
        return f"resolver {self.scheme!r}"


Target: TypeAlias = LookasideTarget | DnsTarget | StaticTarget | CustomTarget


def parse_target(text: str, environ: Mapping[str, str], resolvers: Collection[str] = ()) -> Target:
    """Read a channel's target.

    The forms of https://github.com/sercand/kuberesolver (`kubernetes:///NAME.NAMESPACE:PORT`,
    `kubernetes://NAMESPACE/NAME:PORT`, `kubernetes://NAME.NAMESPACE:PORT`) are read as
    `lookaside:///SERVICE`. PORT is the name or number of a port of the Service, where kuberesolver
    dials a number as the port of the Pods.

    Args:
        text: The target.
        environ: The environment, for `LOOKASIDE_ADDRESS`.
        resolvers: The schemes of the user's own resolvers.

    Raises:
        TargetError: It cannot be understood. The message names it and the known forms.
    """
    forms = ", ".join([_FORMS, *(f"{name}://…" for name in resolvers)])
    if not isinstance(text, str):
        raise TargetError(f"target must be str, not {text!r}. Known forms: {forms}")
    for name in resolvers:
        if name in _SCHEMES or not _SCHEME.fullmatch(name):
            known = ", ".join(_SCHEMES)
            raise TargetError(
                f"resolver {name!r}: a scheme is wanted, such as 'consul', that is none of {known}"
            )
    scheme, separator, rest = text.partition(":")
    parse = _SCHEMES.get(scheme)
    slashes = rest.startswith("//")
    if separator and slashes and scheme in resolvers:
        return CustomTarget(text, scheme)
    if not separator or parse is None or not (slashes or scheme == "dns"):
        raise TargetError(f"target {text!r}: unknown scheme. Known forms: {forms}")
    authority, _, path = rest[2:].partition("/") if slashes else ("", "", rest)
    if scheme == "kubernetes" and not path:
        # kuberesolver's `kubernetes://NAME.NAMESPACE:PORT`.
        authority, path = "", authority
    if not path:
        raise TargetError(f"target {text!r}: nothing after the third slash. Known forms: {forms}")
    try:
        return parse(text, authority, path, environ)
    except ValueError as error:
        raise TargetError(f"target {text!r}: {error}. Known forms: {forms}") from error


def parse_fallback(text: str, target: Target) -> DnsTarget | StaticTarget:
    """Read the fallback of a target.

    Args:
        text: A `dns:` or `static:///` target.
        target: The target that it replaces until a balancer has sent a list.

    Raises:
        TargetError: It cannot be understood, or is of another form, or the target has no balancer.
    """
    if not isinstance(target, LookasideTarget):
        raise TargetError(
            f"fallback {text!r}: only a lookaside target has one, and {target.text!r} is none"
        )
    fallback = parse_target(text, {})
    if not isinstance(fallback, DnsTarget | StaticTarget):
        raise TargetError(f"fallback {text!r}: dns:///HOST:PORT or static:///HOST:PORT is wanted")
    return fallback


def identity(target: Target) -> str:
    """What a target asks for, with the balancers that the environment names."""
    if not isinstance(target, LookasideTarget):
        return target.text
    balancers = ",".join(sorted(address.text for address in target.balancers))
    return f"lookaside://{balancers}/{target.service}"


def _lookaside(text: str, authority: str, path: str, environ: Mapping[str, str]) -> Target:
    balancers = authority or environ.get(ADDRESS_VARIABLE, "")
    if not balancers:
        raise ValueError(f"no balancer is named, and {ADDRESS_VARIABLE} is not set")
    if _SERVICE.fullmatch(path) is None:
        raise ValueError(f"{path!r} is not {_SERVICE_FORM}")
    return LookasideTarget(text, _addresses(balancers), path)


def _kubernetes(text: str, authority: str, path: str, environ: Mapping[str, str]) -> Target:
    if not authority:
        return _lookaside(text, "", path, environ)
    if re.fullmatch(_LABEL, authority) is None:
        raise ValueError(f"{authority!r} before the third slash is not the name of a namespace")
    name, colon, port = path.partition(":")
    if "." in name:
        raise ValueError(f"{authority!r} is the namespace, so {name!r} cannot name one as well")
    return _lookaside(text, "", f"{name}.{authority}{colon}{port}", environ)


def _dns(text: str, authority: str, path: str, _environ: Mapping[str, str]) -> Target:
    if authority:
        raise ValueError(
            f"{authority!r} would be the DNS server to ask, and the system's are asked: "
            "dns: has three slashes or none"
        )
    return DnsTarget(text, parse_address(path))


def _static(text: str, authority: str, path: str, _environ: Mapping[str, str]) -> Target:
    if authority:
        raise ValueError("a static target has three slashes and no authority")
    parts = [part.strip() for part in path.split(",")]
    return StaticTarget(text, _distinct(parse_local(part) or parse_address(part) for part in parts))


def _addresses(text: str) -> tuple[Address, ...]:
    return _distinct(parse_address(part.strip()) for part in text.split(","))


def _distinct(found: Iterable[Address]) -> tuple[Address, ...]:
    addresses = tuple(found)
    if len(set(addresses)) != len(addresses):
        raise ValueError("an address is given twice")
    return addresses


_SCHEMES: Mapping[str, Callable[[str, str, str, Mapping[str, str]], Target]] = MappingProxyType(
    {"lookaside": _lookaside, "kubernetes": _kubernetes, "dns": _dns, "static": _static}
)
