"""Errors between this process and an API server, whichever library raised them.

- `KubernetesError`
    - `Unreachable`: no connection
    - `ReadTimeout`: a connection on which nothing came for too long
    - `ConnectionBroken`: a connection that ended in the middle
    - `MalformedResponse`: an answer that is not what the API promises
    - `ResponseTooLarge`: an answer above the cap
    - `VersionRegression`: a resource version lower than one seen before
    - `MissingListEnd`: a streamed list whose end is never told
    - `SuspiciousList`: a list that lacks most of what the last one had
    - `ApiStatus`: an answer that is a Status
"""

from lookaside.errors import SourceError

_WORDS = {401: "unauthorized", 403: "forbidden", 410: "expired", 429: "throttled"}
_TOO_LARGE = "too large resource version"


class KubernetesError(SourceError):
    """Base of these errors. `reason` is one of a few fixed words, fit for a metric's label."""

    reason = "error"


class Unreachable(KubernetesError):
    """No connection could be made: refused, no route, no name, or a certificate not trusted."""

    reason = "unreachable"


class ReadTimeout(KubernetesError):
    """Nothing was received within the read timeout."""

    reason = "silent"


class ConnectionBroken(KubernetesError):
    """The connection ended in the middle of an answer."""

    reason = "broken"


class MalformedResponse(KubernetesError):
    """An answer is not JSON, is cut short, or lacks what every answer has."""

    reason = "garbled"


class ResponseTooLarge(KubernetesError):
    """An answer is longer than is accepted."""

    reason = "oversized"


class VersionRegression(KubernetesError):
    """A resource version is lower than an earlier one, as after a restore of etcd."""

    reason = "rewound"


class MissingListEnd(KubernetesError):
    """A list was asked for as a stream, and what came doesn't tell where the list ends.

    So do servers that don't know `sendInitialEvents`: theirs is a watch like any other.
    """

    reason = "endless"


class SuspiciousList(KubernetesError):
    """A list lacks most of what was there: believed only after a second read."""

    reason = "emptied"


class ApiStatus(KubernetesError):
    """The API server refused, by an HTTP status or a Status object.

    Attributes:
        code: The status code; 0 if it gave none.
        retry_after: How long it asks to be left alone, in seconds.
        in_stream: It came as an ERROR event of a watch.
    """

    def __init__(
        self, code: int, message: str, *, retry_after: float = 0.0, in_stream: bool = False
    ) -> None:
        super().__init__(f"the API server answers {code or 'an error without a code'}: {message}")
        self.code = code
        self.retry_after = retry_after
        self.in_stream = in_stream
        self._too_large = code == 504 and _TOO_LARGE in message.lower()
        self.reason = "expired" if self._too_large else _WORDS.get(code, "error")

    @property
    def loses_position(self) -> bool:
        """Whether a watch can't go on from where it was: what it missed must be listed."""
        return self.code == 410 or self._too_large or (self.in_stream and self.code != 429)


REASONS = frozenset({*_WORDS.values(), *(kind.reason for kind in KubernetesError.__subclasses__())})
"""The words of all these errors."""
