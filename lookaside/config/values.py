"""The kinds of values that settings have, and how each is read from text.

A parser raises ValueError with nothing but what it expects, as words that follow "expected".
"""

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from lookaside.model import canonical_host

SOURCE_KINDS: Final = ("kubernetes", "file", "dns")
SOURCE_FORMS: Final = "kubernetes, file:PATH or dns:HOST:PORT"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_LONGEST = 366 * 86400.0
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Listen:
    """The address that a server listens on.

    Attributes:
        host: An IP address or host name; "" is every address, IPv6 and IPv4.
        port: 0 to 65535; 0 lets the system choose.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def overlaps(self, other: "Listen") -> bool:
        """Whether one socket can't listen here while another does there."""
        return self.port == other.port and (not self.host or not other.host or self == other)

    @property
    def target(self) -> str:
        """The address as gRPC takes it: ``[::]`` is every address, also where IPv6 is off."""
        return str(self) if self.host else f"[::]:{self.port}"


@dataclass(frozen=True, slots=True)
class SourceSetting:
    """One ``--source``.

    Attributes:
        kind: One of `SOURCE_KINDS`.
        argument: What follows the colon: the path of a file, HOST:PORT of dns, "" for kubernetes.
    """

    kind: Literal["kubernetes", "file", "dns"]
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}" if self.argument else self.kind


def readable(text: str) -> str:
    """Return what is text: the system may hand over bytes that are none, and YAML have a NUL."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("UTF-8 text") from error
    if "\0" in text:
        raise ValueError("text without NUL")
    return text


def source(text: str) -> SourceSetting:
    """Read ``kubernetes``, ``file:PATH`` or ``dns:HOST:PORT``."""
    kind, _, argument = text.partition(":")
    if kind == "kubernetes" and text == kind:
        return SourceSetting("kubernetes")
    if kind == "file" and argument:
        return SourceSetting("file", argument)
    if kind == "dns":
        return SourceSetting("dns", _name_and_port(argument))
    raise ValueError(SOURCE_FORMS)


def _name_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not _is_number(port) or not 0 < int(port) < 65536:
        raise ValueError(f"{SOURCE_FORMS}, PORT 1 to 65535")
    try:
        host = canonical_host(host)
    except ValueError as error:
        raise ValueError(f"{SOURCE_FORMS}, HOST a name in DNS; {error}") from error
    if _is_address(host):
        raise ValueError(f"{SOURCE_FORMS}, HOST a name in DNS and no address")
    return f"{host}:{int(port)}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def listen(text: str) -> Listen:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not _is_number(port) or int(port) > 65535 or (":" in host and not bracketed):
        raise ValueError("HOST:PORT, [IPV6]:PORT, or :PORT for every address")
    try:
        host = canonical_host(host[1:-1] if bracketed else host) if host else ""
    except ValueError as error:
        raise ValueError(f"HOST:PORT, [IPV6]:PORT, or :PORT for every address; {error}") from error
    return Listen("" if host == "::" else host, int(port))


def listen_or_off(text: str) -> Listen | None:
    """Read what `listen` does, or ``off``."""
    if text.lower() == "off":
        return None
    try:
        return listen(text)
    except ValueError as error:
        raise ValueError(f"{error}; or off") from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def duration(text: str) -> float:
    """Read a length of time: a number of seconds, or with a unit, as in 500ms, 30s, 5m or 1h.

    Returns:
        Seconds.

    Raises:
        ValueError: It is neither; the text says what is expected.
    """
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else math.inf
    if seconds > _LONGEST:
        raise ValueError("seconds, or a number with a unit as in 500ms, 30s, 5m or 1h")
    return seconds


def positive(text: str) -> float:
    """Read a length of time above 0, in seconds."""
    seconds = duration(text)
    if seconds == 0:
        raise ValueError("a length of time above 0")
    return seconds


def label(text: str) -> str:
    """Read the name of a namespace."""
    if not _LABEL.fullmatch(text):
        raise ValueError("a namespace: small letters, digits and -, at most 63 characters")
    return text


def domain(text: str) -> str:
    """Read a DNS domain."""
    if not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError("a DNS domain such as cluster.local")
    return text


def audience(text: str) -> str:
    """Read the audience of a token."""
    if not text or not text.isprintable() or " " in text:
        raise ValueError("an audience such as lookaside, without spaces")
    return text


def percent(text: str) -> int:
    """Read a share in percent, with or without its sign."""
    number = text.removesuffix("%")
    if not _is_number(number) or int(number) > 100:
        raise ValueError("a share in percent, 0 to 100")
    return int(number)


def family(text: str) -> Literal["IPv4", "IPv6"]:
    """Read a family of IP addresses, in small or capital letters."""
    match text.lower():
        case "ipv4":
            return "IPv4"
        case "ipv6":
            return "IPv6"
    raise ValueError("IPv4 or IPv6")


def boolean(text: str) -> bool:
    """Read a yes or no, as YAML and shells write them."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("true or false")


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of one of some words, in small or capital letters."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text.lower()

    return parse
