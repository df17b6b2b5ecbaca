"""No step of the event loop does more work than some, however large the cluster is.

Work is counted in calls of functions, Python's and C's: about 0.3 us each. What a step costs by the
clock depends on the machine, and how many calls it makes does not.
"""

import asyncio
import sys
from asyncio import events
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import FrameType

import pytest

from lookaside.api.wire import WireEncoder, summaries
from lookaside.api.worker import LoopWorker
from lookaside.model import ServiceKey, ServiceName
from lookaside.registry.store import Store
from lookaside.sources.kubernetes.api.client import Client
from lookaside.sources.kubernetes.source import KubernetesSource
from lookaside.sources.kubernetes.source_settings import KubernetesSettings
from tests.faults.recording import RecordingObserver
from tests.registry.conftest import Observer

SERVICES, EACH, LARGE, WATCHES, PAGE = 3_000, 2, 1_000, 1_000, 500
MOST = 9_000
"""Calls in one step: some 3 ms. A loop over all services that makes three for each has more."""

_ENDPOINT = (
    '{"addresses":["10.%d.%d.%d"],"conditions":{"ready":true},"nodeName":"node-%d",'
    '"targetRef":{"kind":"Pod","name":"pod-%d","uid":"%d"}}'
)
_SLICE = (
    '{"metadata":{"name":"s%d-a","namespace":"d","resourceVersion":"%d","labels":'
    '{"kubernetes.io/service-name":"s%d"}},"addressType":"IPv4","ports":[{"port":1}],"endpoints":[%s]}'
)
_SERVICE = (
    '{"metadata":{"name":"s%d","namespace":"d","resourceVersion":"%d"},'
    '"spec":{"ports":[{"port":80}],"ipFamilies":["IPv4"]}}'
)


def a_slice(number: int, version: int, count: int = EACH) -> str:
    places = range(number * EACH, number * EACH + count)
    endpoints = (
        _ENDPOINT % (n >> 16 & 255, n >> 8 & 255, n & 255, n % 500, n, n + version) for n in places
    )
    return _SLICE % (number, version, number, ",".join(endpoints))


class Body:
    """The answer to a list, or a watch that goes on."""

    def __init__(self, text: bytes | None) -> None:
        self._text = text
        self.events: asyncio.Queue[bytes] = asyncio.Queue()

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._text is None:
            yield await self.events.get()
        for start in range(0, len(self._text), 2**18):
            yield self._text[start : start + 2**18]
            await asyncio.sleep(0)

    async def read(self, limit: int) -> bytearray:
        assert limit
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
        return body

    def close(self) -> None:
        self.events.put_nowait(b'{"type":"ERROR","object":{"code":410}}\n')


class Cluster(Client):
    """An API server without a network, that lists in pages."""

    def __init__(self) -> None:
        self._pages: dict[str, list[bytes]] = {}
        self.watches: dict[str, Body] = {}

    def put(self, version: int, *, slices: int = SERVICES) -> None:
        """Take another state in the place of the last."""
        self._pages = {
            "services": self._made([_SERVICE % (n, 1) for n in range(SERVICES)], version),
            "endpointslices": self._made([a_slice(n, version) for n in range(slices)], version),
        }

    def _made(self, items: list[str], version: int) -> list[bytes]:
        pages: list[bytes] = []
        for start in range(0, max(len(items), 1), PAGE):
            more = f',"continue":"{len(pages) + 1}"' if start + PAGE < len(items) else ""
            meta = f'{{"resourceVersion":"{version}"{more}}}'
            some = ",".join(items[start : start + PAGE])
            pages.append(f'{{"kind":"List","metadata":{meta},"items":[{some}]}}'.encode())
        return pages

    @asynccontextmanager
    async def open(self, path: str, query: Mapping[str, str], **_: object) -> AsyncIterator[Body]:
        resource = path.rpartition("/")[2]
        if "watch" in query:
            body = self.watches[resource] = Body(None)
        else:
            body = Body(self._pages[resource][int(query.get("continue", 0))])
        yield body

    async def prepare(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Stage:
    """The source and the store, one step of work in each turn of the loop."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        # Shorter than any step.
        self.worker = LoopWorker(turn=1e-9)
        self.store = Store(
            ["cluster"],
            encoder=WireEncoder(),
            observer=Observer(),
            clock=asyncio.get_running_loop().time,
            synced=lambda source: None,
            worker=self.worker,
        )
        self.feed = self.store.feeds["cluster"]
        self.source = KubernetesSource(
            "cluster",
            self.feed,
            RecordingObserver(),
            self.cluster,
            settings=KubernetesSettings(
                stream_lists=False,
                mass_removal=0,
                empty_grace=0.01,
                backoff=0.001,
                relists=100,
                page_size=PAGE,
            ),
            worker=self.worker,
        )

    async def relist(self, version: int, **state: int) -> None:
        """Have all listed anew, and wait until it is published."""
        self.cluster.put(version, **state)
        for watch in self.cluster.watches.values():
            watch.close()
        await until(lambda: self.feed.version >= version)

    def endpoints(self) -> int:
        return self.feed.endpoints


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls of each step of the loop, but for the test's own; the most by what it is."""
    most: Counter[str] = Counter()
    count = 0

    def called(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    run = events.Handle._run

    def counted(handle: asyncio.Handle) -> None:
        nonlocal count
        task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
        name = task.get_name() if isinstance(task, asyncio.Task) else repr(task)
        if name == "test":
            run(handle)
            return
        count = 0
        sys.setprofile(called)
        try:
            run(handle)
        finally:
            sys.setprofile(None)
        most[name] = max(most[name], count)

    monkeypatch.setattr(events.Handle, "_run", counted)
    return most


async def test_no_step_of_a_large_cluster_makes_more_calls_than_some(longest: Counter[str]) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.set_name("test")
    await asyncio.sleep(0)
    stage = Stage()
    stage.cluster.put(1_000)
    longest.clear()
    running = asyncio.create_task(stage.source.run(), name="source")
    phases: dict[str, dict[str, int]] = {}

    def end(phase: str) -> None:
        phases[phase] = {name: count for name, count in longest.items() if count > MOST}
        longest.clear()

    try:
        await until(lambda: stage.feed.synced)
        assert stage.endpoints() == SERVICES * EACH
        end("first list")
        told: list[int] = []
        for number in range(WATCHES):
            stage.store.subscribe(
                ServiceName(ServiceKey("d", f"s{number}")), lambda: told.append(1)
            )
        await until(lambda: len(told) == WATCHES)
        end("watches")
        await stage.relist(1_010)
        end("everything changed")
        stage.cluster.watches["endpointslices"].events.put_nowait(
            b'{"type":"MODIFIED","object":%s}\n' % a_slice(0, 1_011, LARGE).encode()
        )
        await until(lambda: stage.endpoints() == SERVICES * EACH - EACH + LARGE)
        end("a slice of many endpoints")
        told.clear()
        stage.feed.set_stale(True)
        await until(lambda: len(told) == WATCHES)
        stage.feed.set_stale(False)
        await until(lambda: len(told) == 2 * WATCHES)
        end("stale")
        await asyncio.create_task(stage.worker.run(stage.store.overview(10)))
        snapshots = await asyncio.create_task(stage.worker.run(stage.store.listing()))
        assert len(snapshots) == SERVICES
        await asyncio.create_task(stage.worker.run(summaries(snapshots)))
        end("asked for all")
        await stage.relist(1_020, slices=0)
        await until(lambda: stage.endpoints() == 0)
        end("no slices")
        await stage.relist(900)
        await until(lambda: stage.endpoints() == SERVICES * EACH)
        end("another history")
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert {phase: over for phase, over in phases.items() if over} == {}
