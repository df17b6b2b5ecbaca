"""A cluster's Services and EndpointSlices, as a source."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Generic, Protocol, TypeVar

from lookaside.model import ServiceKey
from lookaside.registry.cluster import Cluster
from lookaside.registry.slices import Service, Slice
from lookaside.sources import Feed, SourceObserver
from lookaside.sources.kubernetes.client import Client
from lookaside.sources.kubernetes.mirror import Difference
from lookaside.sources.kubernetes.publisher import Publisher, Timer
from lookaside.sources.kubernetes.reflector import Reflector, Timing
from lookaside.sources.kubernetes.resources import SERVICES_RESOURCE, SLICES_RESOURCE
from lookaside.sources.kubernetes.settings import KubernetesSettings

T = TypeVar("T")

_LONGEST_BETWEEN_CHECKS = 1.0


class _Owner(Protocol):
    """What a half tells its source."""

    def listed(self, half: object, *, at: float, rewound: bool) -> None: ...
    def followed(self, *, at: float) -> None: ...
    def contacted(self) -> None: ...
    def failed(self, reason: str) -> None: ...


class _Half(Generic[T]):
    """One of the two resources, as its reflector tells of it. A `reflector.Handler`.

    Args:
        owner: The source that it is half of.
        replace: Puts a whole list into the cluster's index.
        apply: Puts one difference into the cluster's index.
    """

    def __init__(
        self,
        owner: _Owner,
        replace: Callable[[Collection[T]], None],
        apply: Callable[[Difference[T]], None],
    ) -> None:
        self._owner = owner
        self._replace = replace
        self._apply = apply
        self._awaits_rewind = False
        self.synced = False
        self.version = 0
        self.last_contact: float | None = None

    def expect_rewind(self, version: int) -> None:
        """Vouch for no more than this version until the next list, which may go back to it."""
        self._awaits_rewind = True
        self.version = min(self.version, version)

    def replaced(self, items: Collection[T], version: int, *, rewound: bool, at: float) -> None:
        expected, self._awaits_rewind = self._awaits_rewind, False
        self._replace(items)
        self.synced = True
        self.version = version
        self.contact(at=at)
        self._owner.listed(self, at=at, rewound=rewound and not expected)

    def changed(self, differences: Sequence[Difference[T]], version: int, *, at: float) -> None:
        for difference in differences:
            self._apply(difference)
        if not self._awaits_rewind:
            self.version = version
        self.contact(at=at)
        self._owner.followed(at=at)

    def contact(self, *, at: float) -> None:
        self.last_contact = at
        self._owner.contacted()

    def failed(self, reason: str) -> None:
        self._owner.failed(reason)


class KubernetesSource:
    """Lists and watches EndpointSlices and Services, and feeds the store with what they make up.

    Args:
        name: The source's name.
        feed: Where services are put.
        observer: Who is told of contacts and failures. Reasons are "unreachable", "silent",
            "broken", "garbled", "oversized", "rewound", "emptied", "closed", "malformed",
            "unauthorized", "forbidden", "expired", "throttled" and "error".
        client: The connection to the API server. It is closed when `run` ends.
        namespace: The one namespace that is watched; None: all.
        settings: Bounds.
        timing: Clock, sleep and chance.
    """

    def __init__(
        self,
        name: str,
        feed: Feed,
        observer: SourceObserver,
        client: Client,
        *,
        namespace: str | None = None,
        settings: KubernetesSettings | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.name = name
        self._feed = feed
        self._observer = observer
        self._client = client
        self._settings = settings or KubernetesSettings()
        self._timing = timing or Timing()
        self._stale = False
        self._lost_slices: set[ServiceKey] = set()
        self._cluster = Cluster()
        self._publisher = Publisher(
            feed,
            empty_grace=self._settings.empty_grace,
            clock=self._timing.clock,
            call_later=_call_later,
        )
        self._slices: _Half[Slice] = _Half(self, self._cluster.replace_slices, self._apply_slice)
        self._services: _Half[Service] = _Half(
            self, self._cluster.replace_services, self._apply_service
        )
        self._slice_reflector = Reflector(
            SLICES_RESOURCE,
            client,
            self._slices,
            namespace=namespace,
            settings=self._settings,
            timing=self._timing,
        )
        self._service_reflector = Reflector(
            SERVICES_RESOURCE,
            client,
            self._services,
            namespace=namespace,
            settings=self._settings,
            timing=self._timing,
        )

    def __repr__(self) -> str:
        state = "stale" if self._stale else "synced" if self.synced else "not synced"
        age = self.age()
        seen = "no contact yet" if age is None else f"last contact {age:.1f} s ago"
        return (
            f"<KubernetesSource {self.name!r} {state}, version {self._publisher.version} of "
            f"{self._publisher.epoch!r}, {seen}, {self._client!r}>"
        )

    @property
    def synced(self) -> bool:
        """Whether both resources have been listed."""
        return self._slices.synced and self._services.synced

    def age(self) -> float | None:
        """Return how long the view has gone unconfirmed, in seconds; None: there is none yet."""
        slices, services = self._slices.last_contact, self._services.last_contact
        if slices is None or services is None:
            return None
        return self._timing.clock() - min(slices, services)

    async def run(self) -> None:
        """Feed the store until cancelled.

        Raises:
            ConfigError: There are no credentials to begin with.
        """
        try:
            await self._client.prepare()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._slice_reflector.run(), name=f"{self.name}: slices")
                tasks.create_task(self._service_reflector.run(), name=f"{self.name}: services")
                tasks.create_task(self._watch_age(), name=f"{self.name}: age")
        finally:
            self._publisher.close()
            await self._client.close()

    def listed(self, half: object, *, at: float, rewound: bool) -> None:
        """Publish after one resource was listed; its reflector calls this.

        Args:
            half: Which.
            at: When, in seconds of the clock.
            rewound: Its version went back, and that was not to be expected.
        """
        if rewound:
            self._begin_epoch(half)
        if not self.synced:
            return
        if self._publisher.started and not rewound:
            self.followed(at=at)
            return
        self._cluster.touched()
        self._publisher.replace(self._cluster.records(), version=self._known_version(), at=at)

    def followed(self, *, at: float) -> None:
        """Publish after events or a bookmark; a reflector calls this."""
        if self._publisher.started:
            self._publisher.update(
                self._cluster.touched(),
                version=self._known_version(),
                at=at,
                lost=self._lost_slices,
            )
        self._lost_slices.clear()

    def contacted(self) -> None:
        """Note that the API server confirmed a resource; a reflector calls this."""
        self._observer.source_contact(self.name)
        self._check_age()

    def failed(self, reason: str) -> None:
        """Note a failure; a reflector calls this."""
        self._observer.source_error(self.name, reason)

    def _apply_slice(self, difference: Difference[Slice]) -> None:
        if difference.new is not None:
            self._cluster.set_slice(difference.new)
            return
        self._cluster.remove_slice(*difference.key)
        if difference.old is not None:
            self._lost_slices.add(difference.old.service)

    def _apply_service(self, difference: Difference[Service]) -> None:
        if difference.new is not None:
            self._cluster.set_service(difference.new)
        else:
            self._cluster.remove_service(ServiceKey(*difference.key))

    def _known_version(self) -> int:
        return min(self._slices.version, self._services.version)

    def _begin_epoch(self, half: object) -> None:
        """Start a new epoch, and have the other resource listed anew: it is of the old history."""
        version = self._known_version()
        self._publisher.begin_epoch(version)
        if half is self._slices:
            self._services.expect_rewind(version)
            self._service_reflector.distrust()
        else:
            self._slices.expect_rewind(version)
            self._slice_reflector.distrust()

    async def _watch_age(self) -> None:
        while True:
            await asyncio.sleep(min(_LONGEST_BETWEEN_CHECKS, self._settings.stale_after / 10))
            self._check_age()

    def _check_age(self) -> None:
        age = self.age()
        if age is None or not self._publisher.started:
            return
        stale = age > self._settings.stale_after
        if stale != self._stale:
            self._stale = stale
            self._feed.set_stale(stale)


def _call_later(seconds: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, call)
