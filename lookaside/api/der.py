"""Fields of certificates that neither gRPC nor the standard library gives: DER (X.690) by hand."""

from collections.abc import Iterator


def elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tags of one byte and contents, as far as it is DER."""
    while len(der) >= 2:
        tag, length, start = der[0], der[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(der[2:start], "big")
        if start + length > len(der):
            return
        yield tag, der[start : start + length]
        der = der[start + length :]
