"""The 64-bit key of an RPC for keyed policies (`ring_hash`, `maglev`)."""

from collections.abc import Iterable
from random import Random

import xxhash

from client_resolver.config.keywords import HashKey

__all__ = ["key_of"]


def key_of(
    path: str,
    metadata: Iterable[tuple[str, str | bytes]],
    request: object,
    *,
    hash_key: HashKey | None,
    header: str,
    rng: Random,
) -> int:
    """Work out an RPC's key: XXH64 of what it is to be placed by, as gRFC A42 and A76 have it.

    Args:
        path: `/package.Service/Method`.
        metadata: The RPC's metadata. Names are in lower case, as grpc wants them.
        request: The request, or the iterator of the requests.
        hash_key: The user's own choice of what counts. It goes before the header.
        header: The policy's `requestHashHeader`. Several values are joined by commas. Empty: none.
        rng: Draws the key of an RPC that has nothing to be placed by.
    """
    if hash_key is not None:
        chosen = hash_key(path, dict(metadata), request)
        if chosen is not None:
            # A number is hashed as its digits.
            return xxhash.xxh64_intdigest(
                _bytes(str(chosen) if isinstance(chosen, int) else chosen)
            )
    elif header:
        values = [value for name, value in metadata if name == header]
        if values:
            return xxhash.xxh64_intdigest(b",".join(map(_bytes, values)))
    return rng.getrandbits(64)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
