"""Changes under churn, gathered."""

from collections.abc import Callable
from functools import partial

from tests.faults.apiserver import SERVICES, SLICES, service_json, slice_json
from tests.faults.conftest import World
from tests.faults.recording import GREETER

FULL = ["10.0.0.1", "10.0.0.2"]


async def seen(world: World, change: Callable[[], int]) -> int:
    """Make a change of one event, and wait until the source has seen it."""
    contacts = world.observer.contacts
    version = change()
    await world.observer.contacted(contacts + 1)
    return version


async def put(world: World, address: str) -> int:
    return await seen(world, lambda: world.server.put(SLICES, slice_json("greeter-1", address)))


async def start_quiet(world: World, **settings: float) -> None:
    await world.start_synced(debounce=1.0, **settings)
    world.time.advance(5.0)


async def test_without_debounce_each_change_goes_out_at_once(world: World) -> None:
    await world.start_synced()
    for number in range(5):
        await put(world, f"10.0.1.{number}")
    assert world.feed.views[1:] == [[f"10.0.1.{number}"] for number in range(5)]
    assert not world.time.pending()


async def test_a_change_after_a_quiet_time_goes_out_at_once(world: World) -> None:
    await start_quiet(world)
    await put(world, "10.0.1.1")
    assert world.feed.addresses == ["10.0.1.1"]


async def test_churn_is_gathered_and_its_last_state_delivered(world: World) -> None:
    await start_quiet(world)
    for number in range(40):
        await put(world, f"10.0.1.{number}")
        world.time.advance(0.1)
    assert 4 <= world.feed.updates <= 5
    world.time.advance(1.0)
    assert world.feed.addresses == ["10.0.1.39"]
    assert world.feed.updates <= 6
    assert not world.time.pending()


async def test_a_quiet_service_does_not_wait_longer_than_the_window(world: World) -> None:
    await start_quiet(world)
    await put(world, "10.0.1.1")
    world.time.advance(0.5)
    version = await put(world, "10.0.1.2")
    assert world.feed.addresses == ["10.0.1.1"]
    world.time.advance(0.49)
    assert world.feed.addresses == ["10.0.1.1"]
    world.time.advance(0.02)
    assert world.feed.addresses == ["10.0.1.2"]
    assert world.feed.touched[GREETER] == version


async def test_the_base_waits_for_what_is_gathered(world: World) -> None:
    await start_quiet(world)
    first = await put(world, "10.0.1.1")
    second = await put(world, "10.0.1.2")
    contacts = world.observer.contacts
    world.server.bookmark()
    await world.observer.contacted(contacts + 2)
    assert world.feed.version < first
    world.time.advance(1.0)
    assert world.feed.version == second


async def test_a_flap_within_the_window_shows_nothing(world: World) -> None:
    await start_quiet(world)
    await put(world, "10.0.1.1")
    await put(world, "10.0.1.2")
    await put(world, "10.0.1.1")
    world.time.advance(1.0)
    assert world.feed.views == [FULL, ["10.0.1.1"]]


async def test_a_relist_is_gathered_as_events_are(world: World) -> None:
    await start_quiet(world)
    await put(world, "10.0.1.1")
    [watcher] = world.server.open_watches(SLICES)
    watcher.frozen = True
    version = world.server.put(SLICES, slice_json("greeter-2", "10.0.1.2"))
    world.server.compact(SLICES)
    watcher.end()
    await world.observer.failed("expired")
    await world.server.until(lambda: world.server.count("stream", resource=SLICES) == 2)
    await world.observer.until(lambda: bool(world.time.pending()))
    assert world.feed.addresses == ["10.0.1.1"]
    world.time.advance(1.0)
    assert world.feed.addresses == ["10.0.1.1", "10.0.1.2"]
    assert world.feed.touched[GREETER] > version


async def test_a_grace_ends_in_step_with_the_window(world: World) -> None:
    await start_quiet(world, empty_grace=2.2)
    await seen(world, lambda: world.server.delete(SLICES, "greeter-1"))
    for name in ("a", "b", "c", "d"):
        await seen(world, partial(world.server.put, SERVICES, service_json(name)))
        world.time.advance(0.5)
    before = world.feed.updates
    world.time.advance(0.3)
    assert world.feed.addresses == FULL
    world.time.advance(1.0)
    assert world.feed.addresses == []
    assert world.feed.updates <= before + 2


async def test_a_source_that_stops_leaves_nothing_to_ring(world: World) -> None:
    await start_quiet(world)
    await put(world, "10.0.1.1")
    await put(world, "10.0.1.2")
    assert world.time.pending()
    await world.stop()
    assert not world.time.pending()
