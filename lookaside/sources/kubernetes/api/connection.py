"""The parameters of a connection to an API server: address, TLS, proxy, headers.

What is checked of a server's certificate is what Go's crypto/tls checks for client-go
(https://pkg.go.dev/k8s.io/client-go/transport#TLSConfigFor).
"""

import contextlib
import os
import re
import ssl
import sys
import tempfile
from collections.abc import Iterator

from msgspec import Struct
from yarl import URL

from lookaside.errors import ConfigError

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)


class Tls(Struct, frozen=True, repr_omit_defaults=True):
    """TLS parameters of a connection. Certificates and keys are PEM, as they were read.

    Attributes:
        ca: The authorities that are trusted; None: the system's.
        certificate: The client's certificate chain; None: it shows none.
        key: The certificate's private key.
        verify: The server's certificate is checked.
        server_name: The name that it must bear; "": the host of the URL.
    """

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    verify: bool = True
    server_name: str = ""

    def __repr__(self) -> str:
        return f"Tls(verify={self.verify}, server_name={self.server_name!r})"


class Connection(Struct, frozen=True):
    """All that a request needs to be sent, at one moment.

    Attributes:
        server: The URL of the API server, without user and password.
        tls: What is used where the URL is https.
        proxy: The URL of the HTTP proxy; "": none. It may have a user and a password.
        headers: Who one is: Authorization, Impersonate-….
        compression: Answers may be compressed.
    """

    server: str
    tls: Tls = Tls()
    proxy: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    compression: bool = True

    def __repr__(self) -> str:
        return f"Connection({self.server!r})"

    def shares_pool(self, other: "Connection") -> bool:
        """Whether requests of the other one can go over the same TCP connections."""
        return (self.server, self.tls, self.proxy) == (other.server, other.tls, other.proxy)


def web_url(text: str, what: str) -> URL:
    """Read an http or https URL.

    Args:
        text: The URL.
        what: What it is, for errors.

    Raises:
        ConfigError: It is none, or has another scheme. The text shows no password.
    """
    try:
        url = URL(text)
        url.port, url.user, url.password  # noqa: B018 - read here, so that they are checked here
    except ValueError as error:
        raise ConfigError(f"{what} is no URL: {error}") from error
    if url.scheme not in ("http", "https"):
        raise ConfigError(f"{what} has the scheme {url.scheme!r}; expected http or https")
    if not url.host:
        raise ConfigError(f"{what} names no host")
    return url


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """Make the TLS context of a client.

    Raises:
        ConfigError: The CA, the certificate or the key can't be used.
    """
    context = ssl.create_default_context(
        cadata=_authorities(tls.ca) if tls.ca is not None else None
    )
    # Python 3.13 demands the form of RFC 5280 of each certificate. The CAs of EKS and others lack
    # key identifiers; Go checks chain, validity and name alone. To Go each certificate that is
    # trusted ends a chain, and a common name is no name of a server.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = False
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate is not None and tls.key is not None:
        _load_pair(context, tls.certificate, tls.key)
    return context


def _authorities(pem: bytes) -> str:
    """Return the usable certificates of a bundle; the rest is ignored, as by Go."""
    good = []
    for block in _CERTIFICATE.findall(pem):
        text = block.decode("ascii", "replace")
        with contextlib.suppress(ssl.SSLError, ValueError):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
            good.append(text)
    if not good:
        raise ConfigError("TLS can't be set up: the CA holds no certificate in PEM form")
    return "\n".join(good)


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    try:
        with _path(certificate) as chain, _path(key) as private:
            # Without a passphrase, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(chain, private, password="")
    except (OSError, ValueError) as error:
        said = getattr(error, "reason", None) or "not PEM, encrypted, or cut short"
        raise ConfigError(
            "TLS can't be set up: the client's certificate and key can't be used: "
            f"{said.lower().replace('_', ' ')}"
        ) from error


@contextlib.contextmanager
def _path(content: bytes) -> Iterator[str]:
    """Enter with a path that OpenSSL, which takes no bytes here, can read the content at."""
    if sys.platform == "linux":
        # In memory: a key must not stay on a disk, and the root may be read-only.
        with os.fdopen(os.memfd_create("pem"), "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
