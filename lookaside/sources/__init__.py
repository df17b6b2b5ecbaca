"""Sources of services. Each source feeds the store; none knows its readers."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.steps import Steps


class Feed(Protocol):
    """Receives the state of a source. The store has one per source."""

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        """Replace the last view with a whole one; what is missing from it is gone.

        The first call ends the source's initial sync.

        Args:
            records: Every service that the source knows.
            version: The source's version of this view; 0 if its views have no order.
            epoch: The span of time within which its versions may be compared.
            at: When the view was received, in seconds of the monotonic clock.
        """

    def replacing(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> Steps[None]:
        """Do as `replace` does, in steps.

        Until the last, all is as it was: given up halfway, it has changed nothing. Nothing else may
        be put meanwhile.
        """

    def update(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], *, version: int, at: float
    ) -> None:
        """Change some services; None takes one away.

        Args:
            changes: The services as they are now.
            version: The version of these changes, up to which they hold; 0 if it has no order. The
                whole view still holds up to where `replace` or `advance` said.
            at: When the change was received, in seconds of the monotonic clock.
        """

    def advance(self, version: int) -> None:
        """Say that the whole view holds up to a newer version."""

    def set_missing(self, namespaces: Mapping[str, str]) -> None:
        """Set the namespaces that are not known yet, each with the reason in words.

        Their services are neither there nor not there. To be called before the first `replace`, and
        after the services of one that is missing no longer were put.
        """

    def set_lost(self, namespaces: Mapping[str, str]) -> None:
        """Set the namespaces whose view may be out of date, each with the reason in words.

        Those of `set_missing` are not among them. Where that is every one, `set_stale` says so.
        """

    def follow_absences(self, absence: Callable[[ServiceKey], str]) -> None:
        """Have the source asked what there is of a service that it has not put, in words."""

    def set_stale(self, stale: bool) -> None:
        """Say whether the view may be out of date for longer than is tolerated."""


class SourceObserver(Protocol):
    """Receives events of a source, for metrics."""

    def source_contact(self, source: str) -> None:
        """The source confirmed its view just now: a list, an event or a bookmark."""

    def source_error(self, source: str, reason: str) -> None:
        """Something failed; the reason is one of a few fixed words."""

    def refused(self, kind: str, annotation: str) -> None:
        """An annotation of an object of this kind is not used, since it is malformed."""


class Source(Protocol):
    """A provider of services, run as one task."""

    name: str

    @property
    def reasons(self) -> frozenset[str]:
        """The reasons of all failures that the observer may receive."""

    @property
    def trouble(self) -> str:
        """Why what it knows can't be confirmed just now, in words; "" where it can."""

    def trouble_in(self, namespace: str) -> str:
        """Return why what it knows of a namespace can't be confirmed just now; "" where it can."""

    async def prepare(self) -> None:
        """Look whether it can work as it is set up, before anything is served.

        Raises:
            ConfigError: It can not.
        """

    async def run(self) -> None:
        """Feed the store until cancelled. Failures of what it reads are retried inside.

        If it raises anything else, it can be run again, and starts with the view it had.
        """
