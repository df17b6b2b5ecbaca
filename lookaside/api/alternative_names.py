r"""Names of a certificate that gRPC gives cut: it ends each at its first NUL.

``good.shop\0.evil`` is given as ``good.shop``, which its authority never said. So the certificate
itself is looked at, for that alone.
"""

import binascii
import ssl
from collections.abc import Iterator
from functools import lru_cache

from lookaside.api.der import elements

# id-ce-subjectAltName, 2.5.29.17, as a DER object identifier (RFC 5280, section 4.2.1.6).
_SUBJECT_ALT_NAME = b"\x06\x03\x55\x1d\x11"
_BOOLEAN, _OCTET_STRING, _SEQUENCE = 0x01, 0x04, 0x30
# rfc822Name, dNSName, uniformResourceIdentifier; an IP address may have zeros.
_TEXTUAL = frozenset({0x81, 0x82, 0x86})


# It is asked for with each call.
@lru_cache(maxsize=1024)
def has_cut_names(pem: bytes) -> bool:
    """Say whether an alternative name of a certificate has a NUL in it.

    What only looks like the extension, elsewhere in the certificate, is taken for it too: a
    certificate is refused too often, never too seldom.

    Args:
        pem: The certificate; a handshake has checked its form and signature.
    """
    try:
        der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
    except (ValueError, binascii.Error):
        return False
    start = der.find(_SUBJECT_ALT_NAME)
    while start >= 0:
        if any(b"\0" in name for name in _names(der[start + len(_SUBJECT_ALT_NAME) :])):
            return True
        start = der.find(_SUBJECT_ALT_NAME, start + 1)
    return False


def _names(der: bytes) -> Iterator[bytes]:
    """Yield the contents of the textual names in what follows the extension's identifier."""
    for tag, value in elements(der):
        if tag == _BOOLEAN:  # whether it is critical
            continue
        if tag == _OCTET_STRING:
            for inner, names in elements(value):
                if inner == _SEQUENCE:
                    yield from (name for kind, name in elements(names) if kind in _TEXTUAL)
        return
