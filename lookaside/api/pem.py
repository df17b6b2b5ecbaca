"""PEM files of certificates and keys; where they can't be used, which one is wrong, and how."""

import math
import ssl
from datetime import datetime
from pathlib import Path

from lookaside.api.der import elements
from lookaside.errors import ConfigError

__all__ = ["load_authorities", "load_pair", "not_after", "read"]

_VERSION = 0xA0
_UTC_TIME = 0x17
_PEM_BEGIN = "-----BEGIN CERTIFICATE-----"
_PEM_END = "-----END CERTIFICATE-----"

# As OpenSSL has it of a key that is another's: of the same kind, or of another one.
_ANOTHERS = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


def read(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        ConfigError: It can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def load_pair(context: ssl.SSLContext, cert: Path, key: Path) -> tuple[bytes, bytes]:
    """Have a context show a certificate, and return what the two files hold.

    Args:
        context: The context.
        cert: The certificate chain.
        key: Its private key.

    Raises:
        ConfigError: A file can't be read or used, or the key is another's; the text says which.
    """
    pair = read(cert), read(key)
    try:
        # Without a passphrase, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(_fault(error, cert, key, pair[1])) from error
    return pair


def not_after(pem: bytes) -> float:
    """Return when the first certificate of a chain ends, in seconds since 1970; NaN if unreadable.

    The standard library reads no certificate that it has not verified, so its fields are gone
    through here up to the validity (RFC 5280, 4.1).
    """
    text = pem.decode("ascii", "replace")
    try:
        end = text.index(_PEM_END) + len(_PEM_END)
        der = ssl.PEM_cert_to_DER_cert(text[text.index(_PEM_BEGIN) : end])
        (_, certificate) = next(elements(der), (0, b""))
        (_, signed) = next(elements(certificate), (0, b""))
        fields = list(elements(signed))
        # A version, if there is one; serial number, signature, issuer, validity.
        validity = fields[3 + (fields[0][0] == _VERSION)][1]
        kind, written = list(elements(validity))[1]
        century = (b"19" if written >= b"5" else b"20") if kind == _UTC_TIME else b""
        text = (century + written).decode("ascii").replace("Z", "+0000")
        return datetime.strptime(text, "%Y%m%d%H%M%S%z").timestamp()
    except (ValueError, IndexError):
        return math.nan


def load_authorities(context: ssl.SSLContext, path: Path) -> bytes:
    """Have a context trust the authorities in a file, and return what it holds.

    Raises:
        ConfigError: It can't be read, or holds no certificates.
    """
    held = read(path)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"{path} holds no certificate in PEM form") from error
    return held


def _fault(error: OSError, cert: Path, key: Path, held: bytes) -> str:
    """Say what is wrong with a pair that can't be loaded: the error itself seldom does."""
    try:
        load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert)
    except ConfigError as bad:
        return str(bad)
    reason = getattr(error, "reason", None)
    if reason in _ANOTHERS:
        return f"{key} is not the key of the certificate in {cert}"
    if reason:
        return f"{cert} and {key} can't be used: {reason.lower().replace('_', ' ')}"
    if b"ENCRYPTED" in held:
        return f"{key} is encrypted; expected a private key without a passphrase"
    return f"{key} holds no private key in PEM form"
