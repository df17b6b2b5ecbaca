"""A cluster's Services, EndpointSlices and Pods, as a source."""

import asyncio
from collections.abc import Iterator, Sequence

from lookaside.registry.cluster import Cluster
from lookaside.registry.inputs import MergeOptions
from lookaside.registry.slices import Pod, Service, Slice
from lookaside.sources import Feed, SourceObserver
from lookaside.sources.kubernetes.client import Client
from lookaside.sources.kubernetes.index import Index
from lookaside.sources.kubernetes.pace import Pace
from lookaside.sources.kubernetes.part import Part
from lookaside.sources.kubernetes.publisher import Publisher
from lookaside.sources.kubernetes.refusals import Refusals
from lookaside.sources.kubernetes.resources import (
    PODS_RESOURCE,
    SERVICES_RESOURCE,
    SLICES_RESOURCE,
)
from lookaside.sources.kubernetes.settings import KubernetesSettings
from lookaside.sources.kubernetes.timing import Timing
from lookaside.sources.kubernetes.union import Union

_LONGEST_BETWEEN_CHECKS = 1.0


class KubernetesSource:
    """Lists and watches what services are made of, and feeds the store with what they make up.

    Args:
        name: The source's name.
        feed: Where services are put.
        observer: Who is told of contacts, failures and refused annotations. Reasons of failures are
            "unreachable", "silent", "broken", "garbled", "oversized", "rewound", "emptied",
            "endless", "closed", "malformed", "unauthorized", "forbidden", "expired", "throttled"
            and "error"; what supervises it adds "internal".
        client: The connection to the API server. It is closed when `run` ends.
        namespaces: The namespaces that are watched, each by itself; none: all, as one.
        options: How endpoints are made. Labels of Pods are known where Pods are watched.
        settings: Bounds.
        timing: Time and chance.
    """

    def __init__(
        self,
        name: str,
        feed: Feed,
        observer: SourceObserver,
        client: Client,
        *,
        namespaces: Sequence[str] = (),
        options: MergeOptions | None = None,
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
        self._served = False
        self._failure: asyncio.Future[None] | None = None
        self._index = Index(Cluster(options, pods=self._settings.pods), Refusals(observer))
        self._pace = Pace(
            self._settings.debounce,
            self._publish,
            clock=self._timing.clock,
            call_later=self._timing.call_later,
        )
        self._publisher = Publisher(
            feed,
            empty_grace=self._settings.empty_grace,
            call_later=self._timing.call_later,
            due=lambda: self._pace.ask(self._timing.clock()),
        )
        self._parts = list(self._make_parts(namespaces or (None,)))

    def __repr__(self) -> str:
        awaited = ", ".join(dict.fromkeys(part.name for part in self._parts if not part.synced))
        state = f"not synced, {awaited} to come" if awaited else "synced"
        doubted = ", ".join(dict.fromkeys(part.name for part in self._parts if part.doubting))
        doubt = f", in doubt of the last list of {doubted}" if doubted else ""
        age = self.age()
        seen = "no contact yet" if age is None else f"last contact {age:.1f} s ago"
        return (
            f"<KubernetesSource {self.name!r} {'stale' if self._stale else state}, version "
            f"{self._publisher.version} of {self._publisher.epoch!r}, {seen}{doubt}, "
            f"{self._client!r}>"
        )

    @property
    def synced(self) -> bool:
        """Whether every resource has been listed."""
        return all(part.synced for part in self._parts)

    @property
    def trouble(self) -> str:
        """Which resources could not be followed when it was last tried, and the failures' words."""
        return ", ".join(
            dict.fromkeys(f"{part.name} {part.trouble}" for part in self._parts if part.trouble)
        )

    def age(self) -> float | None:
        """Return how long the view has gone unconfirmed, in seconds; None: there is none yet."""
        contacts = [part.last_contact for part in self._parts]
        known = [at for at in contacts if at is not None]
        if len(known) < len(contacts):
            return None
        return self._timing.clock() - min(known)

    async def prepare(self) -> None:
        """Read the credentials for the first time.

        Raises:
            ConfigError: They can't be read.
        """
        await self._client.prepare()

    async def run(self) -> None:
        """Feed the store until cancelled.

        After a failure it can be run again: everything is listed anew then, and compared with what
        is known. What is known may be half of a change.
        """
        self._failure = asyncio.get_running_loop().create_future()
        self._publisher.started = False
        for part in self._parts:
            part.begin()
        self._check_age()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fail_with(self._failure), name=f"{self.name}: failure")
                for part in self._parts:
                    tasks.create_task(part.run(), name=f"{self.name}: {part.name}")
                tasks.create_task(self._watch_age(), name=f"{self.name}: age")
        finally:
            self._pace.close()
            self._publisher.close()
            await self._client.close()

    def listed(self, part: object, *, at: float, rewound: bool) -> None:
        """Publish after one resource was listed; its part calls this.

        Args:
            part: Which.
            at: When, in seconds of the clock.
            rewound: Its version went back, and that was not to be expected.
        """
        if rewound:
            self._begin_epoch(part)
        if not self.synced:
            return
        if self._publisher.started and not rewound:
            self.followed(at=at)
            return
        self._pace.published()
        self._publisher.replace(self._index.records(), base=self._base(), at=at)
        self._served = True

    def followed(self, *, at: float) -> None:
        """Publish after events or a bookmark; a part calls this."""
        if self._publisher.started:
            self._pace.ask(at)

    def contacted(self) -> None:
        """Note that the API server confirmed a resource; a part calls this."""
        self._observer.source_contact(self.name)
        self._check_age()

    def failed(self, reason: str) -> None:
        """Note a failure; a part calls this."""
        self._observer.source_error(self.name, reason)

    def _make_parts(
        self, namespaces: Sequence[str | None]
    ) -> Iterator[Part[Slice] | Part[Service] | Part[Pod]]:
        settings, timing = self._settings, self._timing
        slices = Union(self._index.replace_slices)
        services = Union(self._index.replace_services)
        pods = Union(self._index.replace_pods)
        for namespace in namespaces:
            yield Part(
                SLICES_RESOURCE,
                self._client,
                self,
                replace=slices.add(),
                change=self._index.change_slices,
                namespace=namespace,
                settings=settings,
                timing=timing,
            )
            yield Part(
                SERVICES_RESOURCE,
                self._client,
                self,
                replace=services.add(),
                change=self._index.change_services,
                namespace=namespace,
                settings=settings,
                timing=timing,
            )
            if settings.pods:
                yield Part(
                    PODS_RESOURCE,
                    self._client,
                    self,
                    replace=pods.add(),
                    change=self._index.change_pods,
                    namespace=namespace,
                    selector=settings.pod_selector,
                    settings=settings,
                    timing=timing,
                )

    def _publish(self, at: float) -> bool:
        # A timer may have called: what it raises would be lost, and the batch with it.
        try:
            return self._publisher.update(self._index.take(), base=self._base(), at=at)
        except Exception as error:  # noqa: BLE001 (raised by `run`)
            if self._failure is not None and not self._failure.done():
                self._failure.set_exception(error)
            return False

    async def _fail_with(self, failure: asyncio.Future[None]) -> None:
        await failure

    def _base(self) -> int:
        return min(part.version for part in self._parts)

    def _begin_epoch(self, part: object) -> None:
        """Start a new epoch, and have the others listed anew: they are of the old history."""
        version = self._base()
        self._publisher.begin_epoch(version)
        for other in self._parts:
            if other is not part:
                other.expect_rewind(version)

    async def _watch_age(self) -> None:
        while True:
            await asyncio.sleep(min(_LONGEST_BETWEEN_CHECKS, self._settings.stale_after / 10))
            self._check_age()

    def _check_age(self) -> None:
        age = self.age()
        if age is None or not self._served:
            return
        stale = age > self._settings.stale_after
        if stale != self._stale:
            self._stale = stale
            self._feed.set_stale(stale)
