"""Selects a proxy for a request, from the environment. Pure.

The rules are those of Go's net/http (https://pkg.go.dev/golang.org/x/net/http/httpproxy), which
kubectl follows.
"""

import ipaddress
from collections.abc import Iterator, Mapping

from msgspec import Struct
from yarl import URL

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api.connection import web_url

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def environment_proxy(server: URL, environ: Mapping[str, str]) -> str:
    """Return the URL of the proxy that requests to a server go through; "" if they go straight.

    Args:
        server: The URL of the server.
        environ: The environment, with HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or in lower case.

    Raises:
        ConfigError: A proxy is needed, and what is set can't be used.
    """
    name = f"{server.scheme}_proxy"
    value = _either(environ, name)
    host, port = (server.host or "").lower(), server.port or 0
    if not value or not _goes_through(host, port, _either(environ, "no_proxy")):
        return ""
    if server.scheme == "http" and environ.get("REQUEST_METHOD"):
        # https://httpoxy.org: in CGI the variable may be a header of the caller.
        raise ConfigError("HTTP_PROXY is not used where REQUEST_METHOD is set, as in CGI")
    return proxy_url(value if "://" in value else f"http://{value}", name.upper())


def proxy_url(text: str, what: str) -> str:
    """Check the URL of a proxy, and return it.

    Args:
        text: The URL.
        what: Where it stands, for errors.

    Raises:
        ConfigError: It is no URL, or of a kind that is not supported: SOCKS, say.
    """
    scheme, _, _ = text.partition("://")
    if scheme.lower().startswith("socks"):
        raise ConfigError(
            f"{what} names a SOCKS proxy, which isn't supported; one of http or https is"
        )
    return str(web_url(text, what))


def _either(environ: Mapping[str, str], name: str) -> str:
    """Return a variable in upper case, or else in lower case."""
    return environ.get(name.upper()) or environ.get(name) or ""


def _goes_through(host: str, port: int, no_proxy: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    return not any(rule.matches(host, address, port) for rule in _rules(no_proxy))


class _Rule(Struct, frozen=True):
    """One entry of NO_PROXY.

    Attributes:
        network: The addresses; None: it is about names.
        suffix: What names end with, from a dot on; "": any host.
        itself: The name without what precedes the suffix is meant too.
        port: The one port; None: any.
    """

    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    suffix: str = ""
    itself: bool = False
    port: int | None = None

    def matches(self, host: str, address: _Address | None, port: int) -> bool:
        if self.network is None and not self.suffix:
            return True
        if self.port not in (None, port):
            return False
        if address is not None:
            return self.network is not None and address in self.network
        if not self.suffix:
            return False
        return host.endswith(self.suffix) or (self.itself and host == self.suffix[1:])


def _rules(no_proxy: str) -> Iterator[_Rule]:
    for entry in no_proxy.lower().split(","):
        word = entry.strip()
        if word == "*":
            yield _Rule()
        elif word:
            rule = _rule(word)
            if rule is not None:
                yield rule


def _rule(word: str) -> _Rule | None:
    """Read an entry: CIDR, address, [address]:port, name, name:port, .suffix or *.suffix."""
    if "/" in word:
        try:
            return _Rule(network=ipaddress.ip_network(word, strict=False))
        except ValueError:
            pass
    host, port = word, None
    if _address(word) is None:
        before, colon, after = word.rpartition(":")
        if colon and after.isdecimal() and (":" not in before or before.startswith("[")):
            host, port = before.removeprefix("[").removesuffix("]"), int(after)
    address = _address(host)
    if address is not None:
        return _Rule(network=ipaddress.ip_network(address), port=port)
    host = host.removeprefix("*") if host.startswith("*.") else host
    if not host:
        return None
    if host.startswith("."):
        return _Rule(suffix=host, port=port)
    return _Rule(suffix=f".{host}", itself=True, port=port)


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
