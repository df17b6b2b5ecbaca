"""What the store does in steps: each is short, and no watcher's list goes back."""

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial

from lookaside._pb import lookaside_pb2 as pb
from lookaside.api.wire import WireEncoder
from lookaside.model import Endpoint, ServiceKey, ServiceName, ServicePort, ServiceRecord
from lookaside.policy.topology import Place
from lookaside.policy.view import View
from lookaside.registry.steps import CHUNK, WAKES, Steps, finish
from lookaside.registry.store import Store
from lookaside.registry.subscription import Subscription
from tests.registry.conftest import KEY, NAME, Clock, Observer

MANY = 4_000


class Later:
    """A worker that does a step when it is told to."""

    def __init__(self) -> None:
        self.asked: deque[tuple[Hashable, Callable[[], Steps[None]]]] = deque()
        self._steps: Steps[None] | None = None

    def ask(self, key: Hashable, make: Callable[[], Steps[None]], *, rests: bool = True) -> None:
        if key not in [one for one, _ in self.asked]:
            self.asked.append((key, make))

    def step(self) -> int | None:
        """Do a step; return how many watchers it woke, None if there was nothing to do."""
        if self._steps is None:
            if not self.asked:
                return None
            self._steps = self.asked.popleft()[1]()
        try:
            return next(self._steps)
        except StopIteration:
            self._steps = None
            return 0

    def finish(self) -> int:
        """Do all; return in how many steps."""
        count = 0
        while self.step() is not None:
            count += 1
        return count


class CountingEndpoint(Endpoint, frozen=True):
    """Counts how often any has been asked for its target, which hashing and encoding need."""

    @property
    def target(self) -> str:
        COUNTS.append(1)
        return f"{self.address}:{self.port}"


COUNTS: list[int] = []


def large(*, without: int = -1) -> ServiceRecord:
    endpoints = tuple(one for n, one in enumerate(ENDPOINTS) if n != without)
    return ServiceRecord(KEY, (ServicePort("", 80),), {"": endpoints})


ENDPOINTS = tuple(
    sorted(CountingEndpoint(f"10.0.{n // 250}.{n % 250}", 50051) for n in range(MANY))
)


def a_store(worker: Later) -> Store:
    store = Store(
        ["source"],
        encoder=WireEncoder(),
        observer=Observer(),
        clock=Clock(),
        synced=lambda source: None,
        worker=worker,
    )
    store.feeds["source"].replace([large()], version=1, epoch="e", at=0)
    return store


def longest(worker: Later) -> int:
    """Do all, and return how many endpoints the longest step has gone through."""
    most = 0
    while True:
        COUNTS.clear()
        if worker.step() is None:
            return most
        most = max(most, len(COUNTS))


def test_no_step_goes_through_more_than_a_chunk_of_endpoints_whatever_is_watched() -> None:
    worker = Later()
    store = a_store(worker)
    store.subscribe(NAME, lambda: None)
    store.subscribe(NAME, lambda: None, deltas=True)
    store.subscribe(NAME, lambda: None, view=View(Place(zone="a")))
    subsets = [
        store.subscribe(NAME, lambda: None, view=View(subset=20, client=f"client-{n}"))
        for n in range(5)
    ]
    assert 0 < longest(worker) <= CHUNK + 2 * 20
    store.feeds["source"].update({KEY: large(without=7)}, version=2, at=0)
    assert longest(worker) <= CHUNK + 2 * 20
    assert all(isinstance(one.take(), bytes) for one in subsets)


def test_a_change_costs_a_watcher_of_a_subset_what_has_changed_and_not_the_list() -> None:
    worker = Later()
    store = a_store(worker)
    for n in range(50):
        store.subscribe(NAME, lambda: None, view=View(subset=20, client=f"client-{n}"))
    worker.finish()
    COUNTS.clear()
    store.feeds["source"].update({KEY: large(without=7)}, version=2, at=0)
    worker.finish()
    # To find what has changed, to hash that for each, and to encode the few that lost it.
    assert len(COUNTS) < 50 * 60


def test_a_step_of_a_request_goes_through_a_chunk_as_well() -> None:
    store = a_store(Later())
    for view in (View(), View(subset=20, client="c")):
        COUNTS.clear()
        most, before = 0, 0
        for _ in store.getting(NAME, view):
            most, before = max(most, len(COUNTS) - before), len(COUNTS)
        assert 0 < most <= CHUNK + 2 * 20


def test_watchers_are_woken_some_at_a_time() -> None:
    worker = Later()
    store = a_store(worker)
    woken: list[int] = []
    for n in range(300):
        one = store.subscribe(NAME, partial(woken.append, n), deltas=True)
        worker.finish()
        one.take()
        one.written()
    woken.clear()
    store.feeds["source"].update({KEY: large(without=7)}, version=2, at=0)
    most, before = 0, 0
    while (woke := worker.step()) is not None:
        assert woke == len(woken) - before
        most, before = max(most, woke), len(woken)
    assert most == WAKES
    assert sorted(woken) == list(range(300))


def test_changes_while_a_change_is_told_are_told_after_it_in_order() -> None:
    worker = Later()
    store = a_store(worker)
    seen: dict[str, list[int]] = {"old": [], "new": []}

    def take(name: str, subscription: Subscription) -> None:
        message = subscription.take()
        if isinstance(message, bytes):
            subscription.written()
            seen[name].append(pb.WatchServersResponse.FromString(message).revision.version)

    old = store.subscribe(NAME, lambda: None)
    worker.finish()
    take("old", old)
    feed = store.feeds["source"]
    feed.update({KEY: large(without=1)}, version=2, at=0)
    for _ in range(3):
        worker.step()
    # The list of version 2 is being made.
    feed.update({KEY: large(without=2)}, version=3, at=0)
    new = store.subscribe(NAME, lambda: None)
    while worker.step() is not None:
        take("old", old)
        take("new", new)
    assert seen["old"] == [1, 2, 3]
    assert seen["new"] == sorted(seen["new"])
    assert seen["new"][-1] == 3
    assert store.get(NAME).snapshot.revision.version == 3


def test_a_list_that_is_overtaken_is_not_said_to_hold_up_to_what_overtook_it() -> None:
    store = a_store(Later())
    steps = store.getting(NAME)
    next(steps)
    store.feeds["source"].update({KEY: large(without=1)}, version=9, at=0)
    snapshot = finish(steps).snapshot
    assert snapshot.revision.version == 1
    assert len(snapshot.endpoints) == MANY


def test_services_are_listed_one_a_step() -> None:
    store = a_store(Later())
    keys = [ServiceKey("shop", f"s{n}") for n in range(20)]
    records = [ServiceRecord(key, (ServicePort("", 80),), {"": ()}) for key in keys]
    store.feeds["source"].replace(records, version=2, epoch="e", at=0)
    steps = store.listing()
    next(steps)
    store.feeds["source"].update({keys[19]: None}, version=3, at=0)
    # Each takes its own step, so all but the first are as they are now.
    names = [one.service for one in finish(steps)]
    assert names == [ServiceName(key) for key in sorted(keys) if key != keys[19]]


def test_who_only_waits_for_changes_has_no_list_encoded_and_supersedes_nothing() -> None:
    worker = Later()
    store = a_store(worker)
    woken: list[int] = []
    store.subscribe(NAME, lambda: woken.append(1), reads=False)
    worker.finish()
    COUNTS.clear()
    for version in (2, 3):
        store.feeds["source"].update({KEY: large(without=version)}, version=version, at=0)
        worker.finish()
    assert len(woken) == 3
    assert COUNTS == []


def test_the_delta_of_a_reader_who_comes_late_is_made_in_steps_as_well() -> None:
    worker = Later()
    store = a_store(worker)
    late = store.subscribe(NAME, lambda: None, deltas=True)
    worker.finish()
    late.take()
    late.written()
    for version in (2, 3):
        store.feeds["source"].update({KEY: large(without=version)}, version=version, at=0)
        worker.finish()
    COUNTS.clear()
    steps = 0
    for _ in late.taking():
        steps += 1
        assert len(COUNTS) <= 2 * CHUNK
        COUNTS.clear()
    assert steps > MANY / CHUNK


def test_of_watchers_who_get_a_long_message_fewer_are_woken_in_one_step() -> None:
    worker = Later()
    store = a_store(worker)
    woken: list[int] = []
    for n in range(100):
        store.subscribe(NAME, partial(woken.append, n))
    worker.finish()
    woken.clear()
    store.feeds["source"].update({KEY: large(without=7)}, version=2, at=0)
    message = store.get(NAME).whole()
    weight = 1 + len(message) // (64 * 1024)
    assert weight > 1
    most = before = 0
    while (woke := worker.step()) is not None:
        assert woke == (len(woken) - before) * weight
        most, before = max(most, len(woken) - before), len(woken)
    assert most == -(-WAKES // weight)
    assert len(woken) == 100
