"""An application's metadata for an RPC: held in a tuple, and refused where gRPC can't send it.

grpc.aio says nothing of the end of a call whose metadata it could not send, so that such a call
must never be made. The rules are those of gRPC over HTTP/2:
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import re
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Metadata", "kept", "sendable"]

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]

_KEY = re.compile(rb"[0-9a-z_.-]+")
_TEXT = re.compile(rb"[\x20-\x7e]*")


def kept(metadata: Metadata) -> tuple[tuple[str, str | bytes], ...]:
    """Return all of it. It may be an iterator, and each attempt needs it.

    Raises:
        TypeError: A key or a value is neither text nor bytes, or a binary value is text. The words
            are grpc's own.
        ValueError: An item isn't a pair.
    """
    items = tuple(metadata)
    given: tuple[tuple[object, object], ...] = items
    for key, value in given:
        if not isinstance(key, str | bytes):
            raise TypeError(f"Expected str, not {type(key)}")
        if _encoded(key).endswith(b"-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f'Binary metadata key="{key!s}" expected bytes, got {type(value)}')
        elif value is not None and not isinstance(value, str | bytes):
            raise TypeError(f"Expected str, not {type(value)}")
    return items


def sendable(metadata: Metadata) -> tuple[tuple[str, str | bytes], ...]:
    """Do as `kept` does, and refuse what HTTP/2 can't carry.

    Raises:
        TypeError: See `kept`.
        ValueError: A key isn't of lower-case letters, digits, `_`, `-` and `.`, or a value that
            isn't binary has other characters than ASCII's printable ones.
    """
    items = kept(metadata)
    for key, value in items:
        name = _encoded(key)
        text = b"" if not value or name.endswith(b"-bin") else _encoded(value)
        if not _KEY.fullmatch(name) or not _TEXT.fullmatch(text):
            raise ValueError(f"Invalid metadata: {(key, value)!r}")
    return items


def _encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
