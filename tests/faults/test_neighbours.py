"""A tenant whose large Service is patched all the time, and another who asks meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from lookaside.api.wire import WireEncoder
from lookaside.api.worker import LoopWorker
from lookaside.model import ServiceKey, ServiceName
from lookaside.registry import contributions, merge
from lookaside.registry.inputs import Inputs
from lookaside.registry.listing import Listing, listing
from lookaside.registry.steps import Steps
from lookaside.registry.store import Store
from lookaside.registry.subscription import Subscription
from lookaside.sources.kubernetes import Client, Kubeconfig, KubernetesSettings, KubernetesSource
from tests.faults.apiserver import SERVICES, SLICES, ApiServer, service_json, slice_json
from tests.faults.conftest import World
from tests.faults.recording import RecordingObserver
from tests.registry.conftest import Observer

SMALL, LARGE = (ServiceName(ServiceKey("default", name)) for name in ("greeter", "large"))
COUNT, EACH, PATCHES, WATCHES = 20, 100, 60, 20


class Replica:
    """A source and a store on one worker, whose clock is the work that is done.

    Attributes:
        made: How many endpoints were made of slices' endpoints.
        merges: How many lists were made of slices.
        turns: How often the loop came round.
    """

    def __init__(self, world: World) -> None:
        self.made = self.merges = 0
        self.turns = 0
        self.told = 0
        self._looks = 0
        self.worker = LoopWorker(clock=self._clock)
        self.store = Store(
            ["cluster"],
            encoder=WireEncoder(),
            observer=Observer(),
            clock=self._clock,
            synced=lambda source: None,
            worker=self.worker,
        )
        self.source = KubernetesSource(
            "cluster",
            self.store.feeds["cluster"],
            RecordingObserver(),
            Client(Kubeconfig(world.kubeconfig())),
            settings=KubernetesSettings(debounce=0.0),
            worker=self.worker,
        )

    def _clock(self) -> float:
        # It is looked at once a step, which takes 10 ms by it.
        self._looks += 1
        return self._looks * 0.01

    async def watch(self) -> None:
        """Take whole lists, until cancelled."""
        woken = asyncio.Event()
        subscription: Subscription = self.store.subscribe(LARGE, woken.set)
        while True:
            await woken.wait()
            woken.clear()
            if await self.worker.run(subscription.taking()) is not None:
                self.told += 1
            subscription.written()

    async def count_turns(self) -> None:
        """Count the loop's turns, until cancelled."""
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    async def ask(self) -> tuple[int, int]:
        """Ask for the small list; return how many turns that took, and endpoints made meanwhile."""
        turns, made = self.turns, self.made
        published = await self.worker.run(self.store.getting(SMALL))
        assert len(published.snapshot.endpoints) == 2
        return self.turns - turns, self.made - made


@pytest_asyncio.fixture
async def replica(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replica]:
    replica = Replica(world)

    def counted(inputs: Inputs, *args: object) -> contributions.SliceContribution:
        made = contributions.contribution(inputs, *args)  # type: ignore[arg-type]
        replica.made += len(made.members)
        return made

    def counted_listing(*args: object) -> Steps[Listing]:
        replica.merges += 1
        return listing(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(merge, "contribution", counted)
    monkeypatch.setattr(merge, "listing", counted_listing)
    world.server.put(SERVICES, service_json("large"))
    world.server.put(SLICES, *(patched(number, 0) for number in range(COUNT)))
    world.run(replica.source)
    await until(lambda: replica.store.feeds["cluster"].synced)
    await world.server.watched(SLICES, SERVICES)
    yield replica


def patched(number: int, patch: int) -> dict[str, object]:
    addresses = [f"10.{number}.0.{n}" for n in range(EACH - 1)]
    return slice_json(f"large-{number}", *addresses, f"10.{number}.1.{patch}", service="large")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_neighbour_of_a_large_service_that_is_patched_all_the_time_waits_no_longer(
    server: ApiServer, replica: Replica
) -> None:
    tasks = [asyncio.create_task(replica.watch()) for _ in range(WATCHES)]
    tasks.append(asyncio.create_task(replica.count_turns()))
    try:
        await until(lambda: replica.told == WATCHES)
        alone, _ = await replica.ask()
        replica.made = replica.merges = 0
        waits = []
        for patch in range(1, PATCHES + 1):
            server.put(SLICES, patched(patch % COUNT, patch))
            waits.append(await replica.ask())
            # Long enough for it to be read by itself.
            for _ in range(20):
                await asyncio.sleep(0)
        last = f"10.{PATCHES % COUNT}.1.{PATCHES}"
        await until(lambda: last in listed(replica))
        # A turn or two more than with nothing going on, and a slice or two were made in them.
        assert max(turns for turns, _ in waits) <= alone + 4
        assert max(made for _, made in waits) <= 4 * EACH
        # Each patch costs its slice at most, and what came while the Service rested was one.
        assert replica.made <= PATCHES * EACH
        assert replica.merges < PATCHES / 2
        assert replica.told < WATCHES * PATCHES
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def listed(replica: Replica) -> list[str]:
    return [one.address for one in replica.store.get(LARGE).snapshot.endpoints]
