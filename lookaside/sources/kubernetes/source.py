"""A cluster's Services, EndpointSlices and Pods, as a source."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from lookaside.logging import get_logger
from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.cluster import Cluster
from lookaside.registry.inputs import MergeOptions
from lookaside.registry.slices import Pod, Service, Slice
from lookaside.registry.steps import AtOnce, Steps, Worker
from lookaside.sources import Feed, SourceObserver
from lookaside.sources.kubernetes.annotation_warnings import AnnotationWarnings
from lookaside.sources.kubernetes.api.client import Client
from lookaside.sources.kubernetes.api.errors import REASONS
from lookaside.sources.kubernetes.debouncer import Debouncer
from lookaside.sources.kubernetes.index import Batch, Index
from lookaside.sources.kubernetes.informer import ResourceInformer
from lookaside.sources.kubernetes.merging import Merging
from lookaside.sources.kubernetes.objects.resources import (
    PODS_RESOURCE,
    SERVICES_RESOURCE,
    SLICES_RESOURCE,
)
from lookaside.sources.kubernetes.publisher import Publisher
from lookaside.sources.kubernetes.source_settings import KubernetesSettings
from lookaside.sources.kubernetes.timing import Alarm, Timing

_LONGEST_BETWEEN_CHECKS = 1.0


class KubernetesSource:
    """Lists and watches what services are made of, and feeds the store with what they make up.

    Args:
        name: The source's name.
        feed: Where services are put.
        observer: Receives contacts, failures and refused annotations. Reasons of failures are
            "unreachable", "silent", "broken", "garbled", "oversized", "rewound", "emptied",
            "endless", "closed", "malformed", "unauthorized", "forbidden", "expired", "throttled"
            and "error"; what supervises it adds "internal".
        client: The connection to the API server. It is closed when `run` ends.
        namespaces: The namespaces that are watched, each by itself; none: all, as one. Where one of
            several can't be listed, the others are served after a grace.
        options: How endpoints are made. Labels of Pods are known where Pods are watched.
        settings: Bounds.
        timing: Clock, timers and random numbers.
        worker: Does what takes long in steps; None: at once.
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
        worker: Worker | None = None,
    ) -> None:
        self.name = name
        self._feed = feed
        self._observer = observer
        self._client = client
        self._settings = settings or KubernetesSettings()
        self._timing = timing or Timing()
        self._stale = False
        self._served = False
        self._log = get_logger("sources.kubernetes")
        self._grace = Alarm(self._timing.call_later)
        self._grace_over = False
        self._told_missing: Mapping[str, str] = {}
        self._told_lost: Mapping[str, str] = {}
        self._namespaces = frozenset(namespaces)
        self._failure: asyncio.Future[None] | None = None
        self._index = Index(
            Cluster(options, pods=self._settings.pods),
            AnnotationWarnings(observer, clock=self._timing.clock),
        )
        self._debouncer = Debouncer(
            self._settings.debounce,
            self._publish,
            clock=self._timing.clock,
            call_later=self._timing.call_later,
        )
        self._worker = worker or AtOnce()
        self._merging = Merging(
            self._index, self._worker, publish=self._publish_made, fail=self._fail
        )
        self._vouched = 0
        self._beginnings = 0
        self._beginning = False
        self._told_any = False
        self._publisher = Publisher(
            feed,
            empty_grace=self._settings.empty_grace,
            call_later=self._timing.call_later,
            due=self._make_anew,
        )
        self._informers = list(self._make_informers(namespaces or (None,)))
        feed.follow_absences(self._absence)

    def __repr__(self) -> str:
        awaited = ", ".join(
            dict.fromkeys(informer.name for informer in self._informers if not informer.synced)
        )
        state = f"not synced, {awaited} to come" if awaited else "synced"
        doubted = ", ".join(
            dict.fromkeys(informer.name for informer in self._informers if informer.doubting)
        )
        doubt = f", in doubt of the last list of {doubted}" if doubted else ""
        age = self.age()
        seen = "no contact yet" if age is None else f"last contact {age:.1f} s ago"
        return (
            f"<KubernetesSource {self.name!r} {'stale' if self._stale else state}, version "
            f"{self._publisher.version} of {self._publisher.epoch!r}, {seen}{doubt}, "
            f"{self._client!r}>"
        )

    @property
    def reasons(self) -> frozenset[str]:
        """The words of all that can fail."""
        return REASONS | {"closed", "malformed"}

    @property
    def synced(self) -> bool:
        """Whether every resource has been listed."""
        return all(informer.synced for informer in self._informers)

    @property
    def missing(self) -> Mapping[str, str]:
        """The namespaces without a list of every resource, each with the reason in words."""
        missing: dict[str, str] = {}
        for informer in self._informers:
            if not informer.synced and informer.namespace is not None:
                reason = informer.trouble or "the first list is still to come"
                missing.setdefault(informer.namespace, f"{informer.name}: {reason}")
        return missing

    @property
    def trouble(self) -> str:
        """Which resources could not be followed when it was last tried, and why, in words."""
        return _troubles(self._informers)

    def trouble_in(self, namespace: str) -> str:
        """Return which resources of a namespace could not be followed, and why, in words."""
        return _troubles(
            informer for informer in self._informers if informer.namespace in (None, namespace)
        )

    def age(self) -> float | None:
        """Return how long some part of the view has gone unconfirmed, in seconds.

        None: there is none yet. Namespaces that are missing or lost are left out.
        """
        told = self._told_missing.keys() | self._told_lost.keys()
        ages = [age for namespace, age in self._ages().items() if namespace not in told]
        return max((age for age in ages if age is not None), default=None)

    async def prepare(self) -> None:
        """Read the credentials for the first time.

        Raises:
            ConfigError: They can't be read.
        """
        await self._client.prepare()

    async def run(self) -> None:
        """Feed the store until cancelled.

        After a failure it can be run again: everything is listed again then, and compared with what
        is known. What is known may be half of a change.
        """
        self._failure = asyncio.get_running_loop().create_future()
        self._stop_publishing()
        for informer in self._informers:
            informer.begin()
        self._check_age()
        self._grace_over = False
        if len({informer.namespace for informer in self._informers}) > 1:
            self._grace.set(self._settings.namespace_grace, self._end_grace)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fail_with(self._failure), name=f"{self.name}: failure")
                for informer in self._informers:
                    tasks.create_task(informer.run(), name=f"{self.name}: {informer.name}")
                tasks.create_task(self._watch_age(), name=f"{self.name}: age")
        finally:
            self._grace.cancel()
            self._debouncer.close()
            self._stop_publishing()
            self._publisher.close()
            await self._client.close()

    def rewound(self, informer: object) -> None:
        """Begin a new epoch before a list of it is taken; an informer calls this."""
        self._stop_publishing()
        self._begin_epoch(informer)

    def listed(self, *, at: float) -> None:
        """Publish after one resource was listed; its informer calls this.

        Args:
            at: When, in seconds of the clock.
        """
        if self._publisher.started:
            self._publish_missing(at)
        elif self._may_begin and not self._beginning:
            self._begin(at)

    @property
    def _may_begin(self) -> bool:
        if any(informer.listing for informer in self._informers):
            return False
        unsynced = {informer.namespace for informer in self._informers if not informer.synced}
        some = any(informer.namespace not in unsynced for informer in self._informers)
        return not unsynced or (self._grace_over and some)

    def _end_grace(self) -> None:
        self._grace_over = True
        if not self._publisher.started and self._may_begin:
            self._begin(self._timing.clock())

    def _stop_publishing(self) -> None:
        """Publish nothing more until all is published again."""
        self._publisher.started = self._beginning = False
        self._beginnings += 1
        self._merging.forget()

    def _begin(self, at: float) -> None:
        self._grace.cancel()
        self._beginning = True
        number = self._beginnings
        self._worker.ask(self, lambda: self._publishing_all(number, at), rests=False)

    def _publishing_all(self, number: int, at: float) -> Steps[None]:
        """Publish everything, and then what was touched while it was made."""
        try:
            # Between two steps it may be stopped, and begun again.
            for woken in self._publishing(at) if number == self._beginnings else ():
                yield woken
                if number != self._beginnings:
                    return
        except Exception as error:  # noqa: BLE001 (raised by `run`)
            self._fail(error)

    def _publishing(self, at: float) -> Steps[None]:
        self._index.take()
        self._vouched, missing = self._base(), self.missing
        records: list[ServiceRecord] = []
        for key in self._index.services():
            record = yield from self._index.recording(key)
            if record is not None:
                records.append(record)
            yield 0
        # Before the first services: those of a missing namespace are neither there nor not.
        self._tell_missing({**self._told_missing, **missing})
        yield from self._publisher.replacing(records, base=self._vouched, at=at)
        self._beginning = False
        self._served = True
        self._tell_missing(missing)
        if missing:
            self._log.warning("served without some namespaces", missing=dict(missing))
        self._debouncer.published()
        self._publish(at)
        self._tell_no_longer_missing()

    def _publish_missing(self, at: float) -> None:
        """Publish what a list has changed, and then that its namespace is no longer missing."""
        if self.missing.keys() == self._told_missing.keys():
            self.followed(at=at)
            return
        self._debouncer.published()
        self._publish(at)
        self._tell_no_longer_missing()

    def _tell_no_longer_missing(self) -> None:
        missing = self.missing
        if missing.keys() != self._told_missing.keys():
            self._merging.after(lambda: self._tell_missing(missing))

    def _tell_missing(self, missing: Mapping[str, str]) -> None:
        self._told_missing = missing
        self._feed.set_missing(missing)

    def followed(self, *, at: float) -> None:
        """Publish after events or a bookmark; an informer calls this."""
        if self._publisher.started:
            self._debouncer.ask(at)

    def contacted(self) -> None:
        """Note that the API server confirmed a resource; an informer calls this."""
        self._observer.source_contact(self.name)
        if self._stale:
            self._check_age()

    def failed(self, reason: str) -> None:
        """Note a failure; an informer calls this."""
        self._observer.source_error(self.name, reason)
        if self._told_missing:
            now = self.missing
            self._tell_missing(
                {name: now.get(name, why) for name, why in self._told_missing.items()}
            )

    def _make_informers(
        self, namespaces: Sequence[str | None]
    ) -> Iterator[ResourceInformer[Slice] | ResourceInformer[Service] | ResourceInformer[Pod]]:
        settings, timing = self._settings, self._timing
        for namespace in namespaces:
            yield ResourceInformer(
                SLICES_RESOURCE,
                self._client,
                self,
                replace=self._index.replacing_slices,
                change=self._index.change_slices,
                namespace=namespace,
                settings=settings,
                timing=timing,
            )
            yield ResourceInformer(
                SERVICES_RESOURCE,
                self._client,
                self,
                replace=self._index.replacing_services,
                change=self._index.change_services,
                namespace=namespace,
                settings=settings,
                timing=timing,
            )
            if settings.pods:
                yield ResourceInformer(
                    PODS_RESOURCE,
                    self._client,
                    self,
                    replace=self._index.replacing_pods,
                    change=self._index.change_pods,
                    namespace=namespace,
                    selector=settings.pod_selector,
                    settings=settings,
                    timing=timing,
                )

    def _publish(self, at: float) -> bool:
        if not self._publisher.started:
            return False
        self._told_any = False
        # A timer may have called: what it raises would be lost, and the batch with it.
        try:
            self._merging.take(bound=self._vouched, at=at)
            self._vouched = self._base()
            self._publish_made(Batch({}), at)
        except Exception as error:  # noqa: BLE001 (raised by `run`)
            self._fail(error)
        return self._told_any or self._merging.bound is not None

    def _publish_made(self, batch: Batch, at: float) -> None:
        """Publish services, and up to where all hold: as far as nothing newer is pending."""
        bound = self._merging.bound
        base = self._vouched if bound is None else min(self._vouched, bound)
        self._told_any |= self._publisher.update(batch, base=base, at=at)

    def _make_anew(self, keys: Collection[ServiceKey]) -> None:
        """Publish services as they are, after the grace of their lists."""
        self._index.touch(keys)
        self._debouncer.ask(self._timing.clock())

    def _fail(self, error: Exception) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _fail_with(self, failure: asyncio.Future[None]) -> None:
        await failure

    def _base(self) -> int:
        return min(
            (p.version for p in self._informers if p.synced and p.namespace not in self._told_lost),
            default=0,
        )

    def _begin_epoch(self, informer: object) -> None:
        """Start a new epoch, and have the others listed again: they are of the old history."""
        version = self._base()
        self._publisher.begin_epoch(version)
        for other in self._informers:
            if other is not informer:
                other.expect_rewind(version)

    async def _watch_age(self) -> None:
        while True:
            await asyncio.sleep(min(_LONGEST_BETWEEN_CHECKS, self._settings.stale_after / 10))
            self._check_age()

    def _check_age(self) -> None:
        ages = self._ages()
        if None in ages.values() or not self._served:
            return
        late = {
            namespace
            for namespace, age in ages.items()
            if age is not None and age > self._settings.stale_after
        }
        self._tell_lost(late)
        stale = bool(ages) and late == ages.keys()
        if stale != self._stale:
            self._stale = stale
            self._feed.set_stale(stale)

    def _ages(self) -> dict[str | None, float | None]:
        """Return how long each namespace that isn't missing has gone unconfirmed, in seconds."""
        now = self._timing.clock()
        ages: dict[str | None, float | None] = {}
        for informer in self._informers:
            if informer.namespace in self._told_missing:
                continue
            age = ages.get(informer.namespace, 0.0)
            at = informer.last_contact
            ages[informer.namespace] = None if age is None or at is None else max(age, now - at)
        return ages

    def _tell_lost(self, late: Collection[str | None]) -> None:
        """Say which of several namespaces are lost: those that are late or have yet to catch up."""
        if len(self._namespaces) < 2:
            return
        version = self._publisher.version
        behind = {informer.namespace for informer in self._informers if informer.version < version}
        lost = {
            namespace: self.trouble_in(namespace) or "nothing has been heard of it for too long"
            for namespace in sorted(self._namespaces)
            if namespace in late or (namespace in self._told_lost and namespace in behind)
        }
        if lost == self._told_lost:
            return
        if self._told_lost.keys() - lost.keys():
            # What it has become meanwhile comes before it is called current.
            self._debouncer.published()
            self._publish(self._timing.clock())
            self._merging.after(lambda: self._set_lost(lost))
        else:
            self._set_lost(lost)

    def _set_lost(self, lost: Mapping[str, str]) -> None:
        if lost == self._told_lost:
            return
        for namespace in lost.keys() - self._told_lost.keys():
            self._log.warning("namespace lost", namespace=namespace, cause=lost[namespace])
        for namespace in self._told_lost.keys() - lost.keys():
            self._log.info("namespace recovered", namespace=namespace)
        self._told_lost = lost
        self._feed.set_lost(lost)

    def _absence(self, key: ServiceKey) -> str:
        if self._namespaces and key.namespace not in self._namespaces:
            return f"{self.name} doesn't watch namespace {key.namespace}"
        return self._index.absence(key)


def _troubles(
    informers: Iterable[
        ResourceInformer[Slice] | ResourceInformer[Service] | ResourceInformer[Pod]
    ],
) -> str:
    return "; ".join(
        dict.fromkeys(
            f"{informer.name}: {informer.trouble}" for informer in informers if informer.trouble
        )
    )
