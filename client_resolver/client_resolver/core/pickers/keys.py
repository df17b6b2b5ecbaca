"""The keys of backends and RPCs for `ring_hash` and `maglev`."""

from collections.abc import Mapping, Sequence

from client_resolver.core.fields import text
from client_resolver.core.picker import Candidate

__all__ = ["backend_key", "hash_header", "layout"]


def backend_key(backend: Candidate, metadata_key: str) -> str:
    """Return what a backend is hashed by.

    Args:
        backend: The backend.
        metadata_key: The name of its metadata that holds the key. Empty, or the backend has none of
            that name: its address is taken.
    """
    if metadata_key:
        for name, value in backend.metadata:
            if name == metadata_key and value:
                return value
    return backend.address


def layout(
    backends: Sequence[Candidate], keys: Sequence[str], *sizes: int
) -> tuple[tuple[object, ...], ...]:
    """Return all that decides how keys are laid out: where it is equal, the picker may be kept."""
    return tuple(backends), tuple(keys), tuple(backend.weight for backend in backends), sizes


def hash_header(config: Mapping[str, object]) -> str:
    """Read `requestHashHeader` (gRFC A76), in lower case.

    Raises:
        ValueError: It is not the name of a header of text.
    """
    header = text(config, "requestHashHeader", "").lower()
    if header.endswith("-bin"):
        raise ValueError(f"requestHashHeader is {header!r}: a header of text is wanted, not -bin")
    if not all(c.isascii() and (c.isalnum() or c in "-_.") for c in header):
        raise ValueError(f"requestHashHeader is {header!r}: letters, digits, - _ . are allowed")
    return header
