"""Lists, then watches, forever, as client-go's tools/cache/reflector.go does.

What to do after a failure is decided in `reflector_policy`; here is the I/O.
"""

import asyncio
import math
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, Protocol, TypeVar

from lookaside.registry.steps import Steps
from lookaside.sources.backoff import Backoff
from lookaside.sources.kubernetes.api.client import Opener, Stream
from lookaside.sources.kubernetes.api.decode import Change, Item
from lookaside.sources.kubernetes.api.errors import (
    ApiStatus,
    ConnectionBroken,
    KubernetesError,
    MalformedResponse,
    MissingListEnd,
    ReadTimeout,
    Unreachable,
)
from lookaside.sources.kubernetes.api.lines import LineBuffer, portions
from lookaside.sources.kubernetes.api.paging import read_pages
from lookaside.sources.kubernetes.objects.resources import Resource
from lookaside.sources.kubernetes.reflector_log import ReflectorLog
from lookaside.sources.kubernetes.reflector_policy import (
    AWAY,
    BRIEF_CAP,
    SHORT_WATCH,
    STARTING,
    Decision,
    Phase,
    RelistBudget,
    decide,
    doubts_position,
)
from lookaside.sources.kubernetes.resource_store import Listed, ObjectUpdate, ResourceStore
from lookaside.sources.kubernetes.source_settings import KubernetesSettings
from lookaside.sources.kubernetes.timing import Alarm, Timing
from lookaside.sources.turns import in_turns

_OBJECTS = 100
"""Objects of a page that are compared with those held in one go."""

J = TypeVar("J")
T = TypeVar("T")


class Handler(Protocol[T]):
    """Receives what a reflector sees. Times are in seconds of the reflector's clock."""

    def replacing(
        self, items: Collection[T], version: int, *, rewound: bool, at: float
    ) -> Steps[None]:
        """Take a whole list, in steps. `rewound`: its version is lower than one seen before."""

    def changed(self, updates: Sequence[ObjectUpdate[T]], version: int, *, at: float) -> None:
        """Take some events in their order; none is a bookmark."""

    def contact(self, *, at: float) -> None:
        """Note that the API server is there, and that the store is up to date."""

    def failed(self, reason: str, cause: str = "") -> None:
        """Note a failure, by one of a few fixed words, and its cause in a sentence, or ""."""


class Reflector(Generic[J, T]):
    """Keeps the store of one resource, of one namespace or all.

    Args:
        resource: What is mirrored.
        opener: The connection to the API server.
        handler: Receives lists and events.
        namespace: The namespace; None: all.
        selector: The label selector of the objects; "" for all.
        settings: Bounds.
        timing: Clock, sleep and random numbers.
    """

    def __init__(
        self,
        resource: Resource[J, T],
        opener: Opener,
        handler: Handler[T],
        *,
        namespace: str | None,
        selector: str = "",
        settings: KubernetesSettings,
        timing: Timing,
    ) -> None:
        self._resource = resource
        self._opener = opener
        self._handler = handler
        self._settings = settings
        self._timing = timing
        self._path = resource.path(namespace)
        self._selection = {"labelSelector": selector} if selector else {}
        self._backoff = Backoff(
            settings.backoff, settings.backoff_ceiling, settings.backoff_reset, timing.rng
        )
        self._brief_backoff = Backoff(
            settings.backoff, BRIEF_CAP, settings.backoff_reset, timing.rng
        )
        self._budget = RelistBudget(settings.relists, settings.relist_span)
        self._reflector_log = ReflectorLog(resource.plural, resource.rbac_rule(namespace))
        self._store: ResourceStore[T] = ResourceStore(settings.mass_removal)
        self._verifications = RelistBudget(1, settings.relist_span)
        self._verify = Alarm(timing.call_later)
        self._settled = Alarm(timing.call_later)
        self._stream: Stream | None = None
        self._end_by: asyncio.Timeout | None = None
        self._unverified = False
        self._streams_lists = settings.stream_lists
        self._page_next = False
        self._distrusted = False
        self._opened_at = self._alive_at = 0.0
        self._unreachable_at = -math.inf
        self._open_watch = False
        self._had_events = False
        self._eventless = 0

    def __repr__(self) -> str:
        state = "to list" if self._store.position is None else f"at {self._store.position}"
        doubt = ", in doubt of its last list" if self.doubting else ""
        return f"<Reflector {self._path} {state}, {len(self._store)} objects{doubt}>"

    @property
    def doubting(self) -> bool:
        """Whether a list that lacks most of what is held awaits its confirmation."""
        return self._store.doubting

    def distrust(self) -> None:
        """List again, at once: what is held may be of another history."""
        self._distrusted = True
        if self._stream is not None:
            self._stream.close()

    async def run(self) -> None:
        """Keep the store up to date until cancelled."""
        while True:
            if self._distrusted:
                self._distrusted = False
                self._store.position = None
            error: KubernetesError | None = None
            self._had_events = self._open_watch = False
            try:
                await self._follow_or_list()
            except KubernetesError as caught:
                error = caught
            if self._distrusted:
                continue
            await self._act(error)

    async def _follow_or_list(self) -> None:
        if self._store.position is None:
            pages = self._page_next or self._store.doubting or not self._streams_lists
            if not pages and await self._stream_list():
                return
            await self._page_list()
        if not self._distrusted:
            await self._watch()

    async def _act(self, error: KubernetesError | None) -> None:
        now = self._timing.clock()
        phase = Phase.LIST if self._store.position is None else Phase.WATCH
        lived = now - self._opened_at
        if self._open_watch and lived >= SHORT_WATCH:
            self._backoff.reset()
            self._unreachable_at = -math.inf
        if isinstance(error, Unreachable):
            self._unreachable_at = now
        if phase is Phase.WATCH and not self._had_events and doubts_position(error):
            self._eventless += 1
        elif self._had_events:
            self._eventless = 0
        if self._open_watch and (error is None or isinstance(error, ConnectionBroken)):
            # The peer that ended the connection was there until now, and would have sent changes.
            self._alive_at = now
            self._handler.contact(at=now)
        decision = decide(
            error,
            phase,
            lived=lived,
            eventless=self._eventless,
            starting=now - self._unreachable_at < STARTING,
        )
        if error is not None:
            self._reflector_log.failed(error, phase, now)
            self._handler.failed(error.reason, self._reflector_log.cause(error))
        elif decision.pause:
            self._handler.failed("closed")
        if decision.relist:
            self._store.position = None
            self._eventless = 0
        await self._pause(decision, now)

    async def _pause(self, decision: Decision, now: float) -> None:
        delay = 0.0
        if decision.pause:
            backoff = self._brief_backoff if decision.brief else self._backoff
            delay = max(backoff.pause(now), decision.at_least)
        if decision.rate_limited:
            delay = self._budget.take(now, delay)
        if delay:
            await self._timing.sleep(delay)

    async def _stream_list(self) -> bool:
        """List and watch in one stream (WatchList, KEP-3157). False: it is not available."""
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        longest = self._settings.stream_end
        try:
            async with asyncio.timeout(longest) as self._end_by:
                await self._watch(query, {})
        except TimeoutError:
            self._pages_only(MissingListEnd(f"a streamed list has not ended after {longest:g} s"))
            self._handler.failed(MissingListEnd.reason)
            return False
        except KubernetesError as error:
            if self._store.position is not None:
                raise
            match error:
                case ApiStatus(in_stream=False, code=400 | 422):
                    self._pages_only(error)
                    return False
                case ApiStatus(code=401 | 403 | 429):
                    pass
                case ApiStatus() | ReadTimeout() | MalformedResponse():
                    self._page_next = True
            raise
        finally:
            # What a watch brings later extends it no more: it has ended.
            self._end_by = None
        return True

    def _pages_only(self, error: KubernetesError) -> None:
        self._reflector_log.pages_only(error)
        self._streams_lists = False

    async def _page_list(self) -> None:
        """List in pages."""
        listed: Listed[T] = {}
        items, version = await read_pages(
            lambda query: self._open(query, self._resource.list_accept),
            self._resource.codec,
            size=self._settings.page_size,
            limit=self._settings.max_page,
        )
        items.reverse()
        while items:
            for _ in range(min(_OBJECTS, len(items))):
                # Popped, so that what is not kept of it is freed here, and not all in one go.
                item = items.pop()
                self._note_flaws(item)
                self._store.collect(listed, item)
            await asyncio.sleep(0)
        await self._commit(listed, version)

    async def _watch(
        self, query: dict[str, str] | None = None, listed: Listed[T] | None = None
    ) -> None:
        """Follow a watch until it ends.

        Args:
            query: What to ask for instead of events from the position on.
            listed: Where to collect the initial events of a streamed list.
        """
        shortest = self._settings.watch_timeout
        query = query or {"resourceVersion": self._store.position or ""}
        query["watch"] = "true"
        query["allowWatchBookmarks"] = "true"
        query["timeoutSeconds"] = str(int(shortest * (1 + self._timing.rng.random())))
        lines = LineBuffer(self._settings.max_line)
        self._opened_at = self._timing.clock()
        async with self._open(query, self._resource.watch_accept) as stream:
            self._stream = stream
            try:
                self._opened_at = self._timing.clock()
                if self._distrusted:
                    return
                if listed is None:
                    self._resumed()
                async for chunk in stream.chunks():
                    for some in portions(lines.feed(chunk)):
                        listed = await self._take(some, listed)
                        await asyncio.sleep(0)
                if lines.rest():
                    listed = await self._take([lines.rest()], listed)
            finally:
                self._stream = None
                self._settled.cancel()
                self._verify.cancel()
        if listed is not None:
            raise MalformedResponse("a streamed list ended before its end")

    def _resumed(self) -> None:
        """Note that the API server has accepted a watch from the position on.

        It does so of any position, one that its etcd has yet to come to too. After a restore that
        is of another history, and nothing in the stream tells.
        """
        self._open_watch = True
        self._handler.contact(at=self._opened_at)
        self._await_settling()
        self._unverified |= self._opened_at - self._alive_at > AWAY
        if self._unverified:
            shortest = self._settings.verify
            self._verify.set(shortest * (1 + self._timing.rng.random()), self._list_to_verify)

    def _await_settling(self) -> None:
        """Have an incident's end told once the watch has brought something, or has lasted."""
        if self._reflector_log.interrupted:
            position = self._store.position
            self._settled.set(SHORT_WATCH, lambda: self._reflector_log.recovered(position))

    def _list_to_verify(self) -> None:
        now = self._timing.clock()
        if wait := self._verifications.free(now):
            self._verify.set(wait, self._list_to_verify)
            return
        self._verifications.take(now)
        self.distrust()

    def _open(self, query: dict[str, str], accept: str) -> AbstractAsyncContextManager[Stream]:
        return self._opener.open(
            self._path,
            query | self._selection,
            accept=accept,
            connect_timeout=self._settings.connect_timeout,
            read_timeout=self._settings.read_timeout,
        )

    async def _take(self, lines: Sequence[bytes], listed: Listed[T] | None) -> Listed[T] | None:
        """Take the events of some lines, as one change; return what is still being listed."""
        at = self._alive_at = self._timing.clock()
        before = len(listed or ())
        updates: list[ObjectUpdate[T]] = []
        moved = False
        try:
            for line in lines:
                event = self._resource.codec.event(line)
                if event is None:
                    continue
                if isinstance(event, Change) and not event.deleted:
                    self._note_flaws(event.item)
                if listed is None:
                    update = self._store.follow(event)
                    moved = True
                    if update is not None:
                        updates.append(update)
                elif isinstance(event, Change):
                    self._store.collect(listed, event.item, deleted=event.deleted)
                elif event.initial_end:
                    # The list has ended in time; taking it may last longer.
                    self._extend(None)
                    await self._commit(listed, event.version)
                    self._open_watch = True
                    listed = None
            self._extend(len(listed) - before if listed is not None else None)
        finally:
            if moved:
                self._had_events = True
                self._reflector_log.recovered(self._store.position)
                self._handler.changed(updates, self._store.version, at=at)
        return listed

    def _extend(self, more: int | None) -> None:
        """Allow a streamed list more time for what it brought; None: it has come to its end."""
        if self._end_by is None:
            return
        if more is None:
            self._end_by.reschedule(None)
            self._end_by = None
        elif more and self._timing.clock() - self._opened_at < 6 * self._settings.stream_end:
            self._end_by.reschedule(asyncio.get_running_loop().time() + self._settings.stream_end)

    def _note_flaws(self, item: Item[T]) -> None:
        flaws = item.flaws + item.malformed
        if flaws:
            self._reflector_log.malformed("/".join(item.key or ()), flaws)
        for _ in range(flaws):
            self._handler.failed("malformed")

    async def _commit(self, listed: Listed[T], version: str) -> None:
        """Replace what is held with a list, and report it.

        Raises:
            SuspiciousList: It lacks most of what is held.
        """
        store = self._store
        before, held, doubted = store.version, len(store), store.doubting
        rewound = await in_turns(store.committing(listed, version))
        if doubted:
            self._reflector_log.confirmed(held, len(store))
        if rewound:
            self._reflector_log.rewound(before, store.version)
        self._page_next = False
        self._had_events = True
        self._backoff.reset()
        self._unreachable_at = -math.inf
        self._unverified = False
        self._reflector_log.recovered(self._store.position)
        at = self._alive_at = self._timing.clock()
        await in_turns(self._handler.replacing(store.items, store.version, rewound=rewound, at=at))
