"""TLS of the commands that ask a balancer: of files, or of what the balancer shows."""

import contextlib
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import grpc

from lookaside.cli.failures import UNAVAILABLE, USAGE, Failure

_SECONDS = 5.0


def credentials(
    ca: Path | None, certificate: Path | None, key: Path | None
) -> grpc.ChannelCredentials:
    """Make TLS credentials of PEM files.

    Args:
        ca: The authorities to trust; None for the system's.
        certificate: The client's certificate chain; None for none.
        key: The certificate's private key.

    Raises:
        Failure: A file can't be read, holds no certificate, or the key is another's.
    """
    context = _context(certificate, key)
    if ca:
        read(ca)
        try:
            context.load_verify_locations(ca)
        except (ssl.SSLError, OSError) as error:
            raise Failure(f"--cacert {ca} holds no certificates in PEM form", USAGE) from error
    return _credentials(read(ca) if ca else None, certificate, key)


def trusting(
    target: str, certificate: Path | None, key: Path | None
) -> tuple[grpc.ChannelCredentials, str]:
    """Make TLS credentials that trust the certificate which the balancer shows now, and no other.

    Args:
        target: HOST:PORT of the balancer.
        certificate: The client's certificate chain; None for none.
        key: The certificate's private key.

    Returns:
        The credentials, and a name that the certificate bears.

    Raises:
        Failure: A file can't be used, or nobody shows a certificate there.
    """
    shown = _shown(target, _context(certificate, key))
    context = _context(certificate, key)
    context.load_verify_locations(cadata=shown)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_REQUIRED
    with _handshake(target, context) as connection:
        names = bearer(connection.getpeercert() or {})
    secure = _credentials(shown.encode(), certificate, key)
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


def read(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        Failure: It can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failure(f"can't read {path}: {error.strerror or error}", USAGE) from error


def _credentials(
    roots: bytes | None, certificate: Path | None, key: Path | None
) -> grpc.ChannelCredentials:
    if certificate is None or key is None:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(roots, read(key), read(certificate))


def _context(certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return a client's context that asks for no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if certificate and key:
        read(certificate)
        read(key)
        try:
            context.load_cert_chain(certificate, key)
        except (ssl.SSLError, OSError) as error:
            raise Failure(
                f"--cert {certificate} and --key {key} are no certificate and its key in PEM form",
                USAGE,
            ) from error
    return context


def _shown(target: str, context: ssl.SSLContext) -> str:
    with _handshake(target, context) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")


def _handshake(target: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    host, _, port = target.rpartition(":")
    try:
        plain = socket.create_connection((host.strip("[]"), int(port)), _SECONDS)
        try:
            return context.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise
    except ssl.SSLError as error:
        said = getattr(error, "verify_message", "") or "it speaks no TLS there"
        raise Failure(
            f"can't trust the balancer at {target}: {said}; --plaintext is for one without TLS",
            UNAVAILABLE,
        ) from error
    except OSError as error:
        said = "no answer in time" if isinstance(error, TimeoutError) else error.strerror
        raise Failure(
            f"can't reach the balancer at {target}: {(said or str(error)).lower()}; "
            "--address or LOOKASIDE_ADDRESS says where it is",
            UNAVAILABLE,
        ) from error
