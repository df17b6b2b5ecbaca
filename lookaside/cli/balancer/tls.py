"""TLS of the commands that ask a balancer: of files, or of what the balancer shows."""

import contextlib
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import grpc

from lookaside.api.pem import load_authorities, load_pair
from lookaside.cli.errors import UNAVAILABLE, Failure


def credentials(
    ca: Path | None, certificate: Path | None, key: Path | None
) -> grpc.ChannelCredentials:
    """Make TLS credentials of PEM files.

    Args:
        ca: The authorities to trust; None for the system's.
        certificate: The client's certificate chain; None for none.
        key: The certificate's private key.

    Raises:
        ConfigError: A file can't be read, holds no certificate, or the key is another's.
    """
    context, pair = _context(certificate, key)
    return grpc.ssl_channel_credentials(load_authorities(context, ca) if ca else None, *pair)


def trusting(
    target: str, certificate: Path | None, key: Path | None, seconds: float
) -> tuple[grpc.ChannelCredentials, str]:
    """Make TLS credentials that trust the certificate which the balancer shows now, and no other.

    Args:
        target: HOST:PORT of the balancer.
        certificate: The client's certificate chain; None for none.
        key: The certificate's private key.
        seconds: How long it may take.

    Returns:
        The credentials, and a name that the certificate bears.

    Raises:
        ConfigError: A file can't be used.
        Failure: Nobody shows a certificate there in time.
    """
    until = time.monotonic() + seconds
    context, pair = _context(certificate, key)
    with _handshake(target, context, until) as connection:
        shown = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")
    context.load_verify_locations(cadata=shown)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_REQUIRED
    with _handshake(target, context, until) as connection:
        names = bearer(connection.getpeercert() or {})
    secure = grpc.ssl_channel_credentials(shown.encode(), *pair)
    return secure, names[0].replace("*", "any") if names else ""


def bearer(certificate: Mapping[str, object]) -> list[str]:
    """Return the DNS names and IP addresses of a certificate, as the ssl module reads it."""
    names = cast("Sequence[tuple[str, str]]", certificate.get("subjectAltName", ()))
    return [name for kind, name in names if kind in ("DNS", "IP Address")]


def served(certificate: Path, key: Path) -> tuple[list[str], str]:
    """Return what clients will see of a server's certificate, by a handshake in memory.

    Args:
        certificate: The certificate chain.
        key: Its private key.

    Returns:
        The names that it bears, and until when it is good.

    Raises:
        Failure: Clients will refuse it; the text says why.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        server.load_cert_chain(certificate, key)
        client.load_verify_locations(certificate)
        shown = _shaken(client, server)
    except (ssl.SSLError, OSError) as error:
        said = getattr(error, "verify_message", "") or str(error)
        raise Failure(f"clients will refuse {certificate}: {said}") from error
    return bearer(shown), str(shown.get("notAfter", ""))


def _shaken(client: ssl.SSLContext, server: ssl.SSLContext) -> Mapping[str, object]:
    """Have two contexts shake hands, and return the server's certificate."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one, other = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    while True:
        with contextlib.suppress(ssl.SSLWantReadError):
            one.do_handshake()
            return one.getpeercert() or {}
        with contextlib.suppress(ssl.SSLWantReadError):
            other.do_handshake()


def _context(
    certificate: Path | None, key: Path | None
) -> tuple[ssl.SSLContext, tuple[bytes, bytes] | tuple[()]]:
    """Return a client's context that asks for no certificate, and what it shows: key, chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if certificate is None or key is None:
        return context, ()
    chain, private = load_pair(context, certificate, key)
    return context, (private, chain)


def _handshake(target: str, context: ssl.SSLContext, until: float) -> ssl.SSLSocket:
    host, _, port = target.rpartition(":")
    try:
        plain = socket.create_connection((host.strip("[]"), int(port)), _left(until))
        try:
            plain.settimeout(_left(until))
            return context.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise
    except ssl.SSLError as error:
        said = getattr(error, "verify_message", "") or "the server there does not use TLS"
        raise Failure(
            f"can't trust the balancer at {target}: {said}; use --plaintext without TLS",
            UNAVAILABLE,
        ) from error
    except OSError as error:
        said = "no answer in time" if isinstance(error, TimeoutError) else error.strerror
        raise Failure(
            f"can't reach the balancer at {target}: {(said or str(error)).lower()}; "
            "--address or LOOKASIDE_ADDRESS says where it is",
            UNAVAILABLE,
        ) from error


def _left(until: float) -> float:
    """Return how many seconds are left; a timeout of 0 would mean not to wait at all."""
    return max(until - time.monotonic(), 0.001)
