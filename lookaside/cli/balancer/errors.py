"""Errors of calls to the balancer, as sentences that a user can act on."""

import re
from dataclasses import dataclass

import grpc

from lookaside.cli.errors import FAILED, NOT_FOUND, UNAVAILABLE, USAGE, Failure

_EXIT_CODES = {
    grpc.StatusCode.NOT_FOUND: NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT: USAGE,
    grpc.StatusCode.UNAVAILABLE: UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: UNAVAILABLE,
}
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
_PLAIN = frozenset(
    {
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
)
_HINTS = {
    grpc.StatusCode.UNAUTHENTICATED: "--token-file, or --cert and --key, say who asks",
    grpc.StatusCode.PERMISSION_DENIED: "--allow of the balancer says who may ask for what",
}
_WHERE = "--address or LOOKASIDE_ADDRESS says where it is"


@dataclass(frozen=True, slots=True)
class _Cause:
    """A cause that gRPC's core reports if no balancer answered, recognised by its text.

    Attributes:
        words: A pattern of what is in its text.
        meaning: What happened.
        hint: What may help.
        secure: Whether it is so with TLS alone, or without alone; None: either way.
    """

    words: str
    meaning: str
    hint: str = _WHERE
    secure: bool | None = None


_CAUSES = (
    _Cause("Connection refused", "connection refused"),
    _Cause("unix:.*No such file or directory", "there is no such socket"),
    _Cause("DNS resolution failed", "the name does not resolve"),
    _Cause("errors resolving", "the name does not resolve"),
    _Cause(
        "http1.x server|Expected SETTINGS frame",
        "the server there does not speak gRPC",
        "is that the admin port? gRPC is on 50052 unless --listen sets another port",
    ),
    _Cause("WRONG_VERSION_NUMBER", "the server there does not use TLS", "use --plaintext"),
    _Cause(
        "certificate has expired",
        "its certificate has expired",
        "the balancer needs a new one",
    ),
    _Cause(
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is signed by an unknown authority",
        "set it with --cacert",
    ),
    _Cause(
        "Hostname Verification Check failed",
        "its certificate has another name",
        "set the expected name with --authority",
    ),
    _Cause(
        "SSL",
        "the TLS handshake failed",
        "if it requires a client certificate, set --cert and --key",
    ),
    _Cause("timed out", "no answer in time"),
    _Cause(
        "ALPN",
        "the server there speaks TLS, but not gRPC",
        "is there a proxy in between?",
        secure=True,
    ),
    _Cause(
        "failed to connect.*ocket closed",
        "the connection was closed at once",
        "if it requires a client certificate, set --cert and --key",
        secure=True,
    ),
    _Cause(
        "failed to connect.*ocket closed",
        "the connection was closed at once",
        "if it uses TLS, set --tls or --cacert",
        secure=False,
    ),
    _Cause("Socket closed", "the connection closed"),
    _Cause("Cancelling all calls", "the connection closed"),
    _Cause("GOAWAY", "the connection closed"),
    _Cause("Connection reset", "the connection closed"),
    _Cause("recvmsg:", "the connection closed"),
)


class BalancerError(Failure):
    """The balancer can't be asked, or refuses.

    Attributes:
        reason: What happened.
        passing: Whether trying again may help.
    """

    def __init__(self, reason: str, exit_code: int, *, passing: bool, hint: str = "") -> None:
        super().__init__(f"{reason}; {hint}" if hint else reason, exit_code)
        self.reason = reason
        self.passing = passing


def refused(error: grpc.RpcError, target: str, *, secure: bool = False) -> BalancerError:
    """Return what a failed call means.

    Args:
        error: The failure.
        target: Where the balancer was thought to be.
        secure: Whether it was asked over TLS.
    """
    if not isinstance(error, grpc.aio.AioRpcError):
        return BalancerError(str(error), FAILED, passing=False)
    code, details = error.code(), error.details() or ""
    exit_code, passing = _EXIT_CODES.get(code, FAILED), code in _PASSING
    cause = _cause(details, secure=secure) if code is grpc.StatusCode.UNAVAILABLE else None
    if cause:
        return BalancerError(
            f"can't reach the balancer at {target}: {cause.meaning}",
            exit_code,
            passing=passing,
            hint=cause.hint,
        )
    reason, hint = _sentence(code, details, target), _HINTS.get(code, "")
    return BalancerError(reason, exit_code, passing=passing, hint=hint)


def _cause(details: str, *, secure: bool) -> _Cause | None:
    for cause in _CAUSES:
        if re.search(cause.words, details) and cause.secure in (None, secure):
            return cause
    if "failed to connect" in details:
        last = re.sub(r"^.*last error: (?:[A-Z_]+: )?", "", details)
        return _Cause("", last)
    return None


def _sentence(code: grpc.StatusCode, details: str, target: str) -> str:
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"what answers at {target} is not a Lookaside balancer, or an older version"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the balancer at {target} did not answer in time; raise --timeout"
    if code in _PLAIN and details:
        return details
    words = code.name.lower().replace("_", " ")
    return f"the balancer at {target} says {words}: {details or 'no reason given'}"
