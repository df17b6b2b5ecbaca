"""The log of a reflector. It never repeats a line over and over."""

from lookaside.logging import get_logger
from lookaside.sources.kubernetes.api.errors import ApiStatus, KubernetesError, ReadTimeout
from lookaside.sources.kubernetes.reflector_policy import Phase

FORBIDDEN_LASTS = 5.0


class ReflectorLog:
    """The log of one resource.

    Args:
        resource: The resource's name.
        rbac_rule: The right that it takes, in words.
    """

    def __init__(self, resource: str, rbac_rule: str) -> None:
        self._log = get_logger("sources.kubernetes").bind(resource=resource)
        self._rbac_rule = rbac_rule
        self._last = ""
        self._forbidden_since: float | None = None
        self._said_forbidden = False

    @property
    def interrupted(self) -> bool:
        """Whether a failure was logged, and nothing since that it is over."""
        return bool(self._last)

    def cause(self, error: KubernetesError) -> str:
        """Say why something failed, and what would mend it where that is known."""
        if isinstance(error, ApiStatus) and error.code == 403:
            return f"forbidden: {self._rbac_rule}"
        return f"{error.reason}: {error}"

    def failed(self, error: KubernetesError, phase: Phase, now: float) -> None:
        """Log a failure once, however often it comes in a row.

        An API server that starts answers 403 until it has read its own rules: that a right is
        missing is said once the answer has lasted.

        Args:
            error: What failed.
            phase: At what.
            now: When, in seconds of the clock.
        """
        if isinstance(error, ApiStatus) and error.code == 403:
            self._forbidden_since = now if self._forbidden_since is None else self._forbidden_since
            if not self._said_forbidden and now - self._forbidden_since >= FORBIDDEN_LASTS:
                self._said_forbidden = True
                self._log.error("forbidden", missing=self._rbac_rule, error=str(error))
        else:
            self._forbidden_since, self._said_forbidden = None, False
        quiet = isinstance(error, ReadTimeout) and phase is Phase.WATCH
        if quiet or error.reason == self._last:
            return
        self._last = error.reason
        self._log.warning("interrupted", reason=error.reason, error=str(error))

    def recovered(self, position: str | None) -> None:
        """Log that what was interrupted goes on."""
        if self._last:
            self._log.info("recovered", position=position)
        self._last = ""
        self._forbidden_since, self._said_forbidden = None, False

    def malformed(self, name: str, parts: int) -> None:
        """Log that parts of an object are set aside."""
        self._log.warning("malformed parts are set aside", object=name, parts=parts)

    def confirmed(self, held: int, listed: int) -> None:
        """Log that a list was read again and is believed, whatever it lacks."""
        self._log.warning("the second list is believed", held=held, listed=listed)

    def rewound(self, last: int, now: int) -> None:
        """Log that resource versions went back."""
        self._log.warning("resource versions went back", last=last, now=now)

    def pages_only(self, error: KubernetesError) -> None:
        """Log that lists can't be streamed."""
        self._log.info("the API server does not stream lists; pages are used", error=str(error))
