"""What gRPC says of a call that failed, as a sentence that a user can act on."""

import grpc

from lookaside.cli.failures import FAILED, NOT_FOUND, UNAVAILABLE, USAGE, Failure

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
# What gRPC's core says itself where no balancer answered; the text of the status is all there is.
_CAUSES = (
    ("Connection refused", "connection refused"),
    ("DNS resolution failed", "the name does not resolve"),
    ("timed out", "no answer in time"),
    ("SSL", "the TLS handshake failed"),
    ("Socket closed", "the connection closed"),
    ("Cancelling all calls", "the connection closed"),
    ("GOAWAY", "the connection closed"),
    ("Connection reset", "the connection closed"),
    ("recvmsg:", "the connection closed"),
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


def refused(error: grpc.RpcError, target: str) -> BalancerError:
    """Return what a failed call means.

    Args:
        error: The failure.
        target: Where the balancer was thought to be.
    """
    if not isinstance(error, grpc.aio.AioRpcError):
        return BalancerError(str(error), FAILED, passing=False)
    code, details = error.code(), error.details() or ""
    exit_code, passing = _EXIT_CODES.get(code, FAILED), code in _PASSING
    cause = _cause(details) if code is grpc.StatusCode.UNAVAILABLE else ""
    if cause:
        return BalancerError(
            f"can't reach the balancer at {target}: {cause}",
            exit_code,
            passing=passing,
            hint="--address or LOOKASIDE_ADDRESS says where it is",
        )
    hint = ""
    if code is grpc.StatusCode.UNAUTHENTICATED:
        hint = "--token-file, or --cert and --key, say who asks"
    return BalancerError(_sentence(code, details, target), exit_code, passing=passing, hint=hint)


def _cause(details: str) -> str:
    for words, cause in _CAUSES:
        if words in details:
            return cause
    return details if "failed to connect" in details else ""


def _sentence(code: grpc.StatusCode, details: str, target: str) -> str:
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"what answers at {target} is not a Lookaside balancer, or an older one"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the balancer at {target} did not answer in time; --timeout gives it more"
    if code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT) and details:
        return details
    words = code.name.lower().replace("_", " ")
    return f"the balancer at {target} says {words}: {details or 'no reason given'}"
