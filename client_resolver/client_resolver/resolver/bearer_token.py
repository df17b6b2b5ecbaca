"""Bearer tokens: how a client tells a balancer who it is."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TypeAlias

__all__ = ["Token", "TokenError", "authorization"]

_TOKEN_LIMIT = 64 * 1024
"""Characters. No HTTP server takes a header of that size."""


Token: TypeAlias = str | PathLike[str] | Callable[[], str]
"""A bearer token, the path of a file that has it, or what returns it. Tokens rotate: the file is
read, or what returns it called, for each watch."""


class TokenError(Exception):
    """There is no token to send. The message says why and never holds the token."""


def authorization(token: Token | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata that a watch is begun with (RFC 6750, section 2.1).

    It is plain metadata, not gRPC's call credentials, which are refused on connections without TLS.
    Inside a mesh or a test that would leave no way to tell who asks.

    Args:
        token: The token, the path of a file that has it (read again here: a projected token of
            Kubernetes is replaced before it runs out), or what returns it. None: no metadata. May
            wait for the file or for the callable.

    Raises:
        TokenError: There is none.
    """
    if token is None:
        return ()
    try:
        text = _current(token).strip()
    except Exception as error:
        raise TokenError(f"no token: {type(error).__name__}: {error}") from error
    if not text or len(text) > _TOKEN_LIMIT or not (text.isascii() and text.isprintable()):
        raise TokenError(f"no token: {_name(token)} is empty, or has what no HTTP header may have")
    return (("authorization", f"Bearer {text}"),)


def _current(token: Token) -> str:
    if isinstance(token, str):
        return token
    if isinstance(token, PathLike):
        return Path(token).read_text(encoding="utf-8")
    text = token()
    if not isinstance(text, str):
        raise TypeError(f"the callable has returned {type(text).__name__}, not str")
    return text


def _name(token: Token) -> str:
    if isinstance(token, PathLike):
        return f"the file {Path(token)}"
    return "balancer_token" if isinstance(token, str) else "what the callable returned"
