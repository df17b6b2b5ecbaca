"""An API server that goes and comes, with the same history or with another one."""

import pytest
from structlog.testing import capture_logs

from tests.faults.apiserver import (
    SERVICES,
    SLICES,
    end_at_once,
    refuse,
    service_json,
    slice_json,
)
from tests.faults.conftest import World

FULL = ["10.0.0.1", "10.0.0.2"]


async def outage(world: World, *, attempts: int = 4) -> None:
    """Let it be away until it was looked for so often in vain."""
    times = world.observer.errors["unreachable"] + attempts
    await world.server.stop()
    await world.observer.failed("unreachable", times=times)


async def back(world: World) -> None:
    """Let it come back, and wait until the source has resumed its watches."""
    contacts = world.observer.contacts
    await world.server.start()
    await world.observer.contacted(contacts + 2)


async def test_after_six_outages_a_change_is_seen_as_soon_as_after_the_first(world: World) -> None:
    await world.start_synced()
    for number in range(6):
        await outage(world, attempts=8)
        await back(world)
        world.time.advance(6.0)
        world.server.put(SLICES, slice_json("greeter-1", f"10.0.1.{number}"))
        await world.feed.shows(f"10.0.1.{number}")
    assert max(world.time.delays) <= 2.0


async def test_a_minute_of_outage_is_over_within_two_seconds(world: World) -> None:
    await world.start_synced()
    began = world.time.now
    await outage(world, attempts=80)
    assert world.time.now - began > 50
    assert max(world.time.delays) <= 2.0


@pytest.mark.parametrize("by_status", [True, False])
async def test_a_position_that_was_lost_in_an_outage_is_listed_at_once(
    world: World, by_status: bool
) -> None:
    world.server.gone_by_status = by_status
    await world.start_synced()
    with capture_logs() as logs:
        await outage(world)
        world.server.compact()
        world.server.put(SLICES, slice_json("greeter-1", "10.0.0.9"))
        pauses = len(world.time.delays)
        await world.server.start()
        await world.feed.shows("10.0.0.9")
        await world.server.until(lambda: world.server.count("stream") == 4)
        await world.feed.until(lambda: world.feed.version == world.server.version)
    assert len(world.time.delays) - pauses <= 2
    said: dict[str, list[str]] = {SLICES: [], SERVICES: []}
    for entry in logs:
        if entry["event"] in ("interrupted", "recovered"):
            said[entry["resource"]].append(entry.get("reason", entry["event"]))
    for words in said.values():
        # How the outage showed comes first. One of the two may see it later than the other.
        assert words[-2:] == ["expired", "recovered"]
        assert not {"expired", "recovered"} & set(words[:-2])


async def test_a_watch_that_is_quiet_is_said_to_have_recovered_once_it_has_lasted(
    world: World,
) -> None:
    await world.start_synced()
    await outage(world)
    with capture_logs() as logs:
        await back(world)
        assert "recovered" not in [entry["event"] for entry in logs]
        world.time.advance(5.0)
    recovered = [entry["resource"] for entry in logs if entry["event"] == "recovered"]
    assert sorted(recovered) == [SLICES, SERVICES]


async def test_pauses_are_short_again_after_a_watch_that_lasted(world: World) -> None:
    world.server.watches[SLICES].once(end_at_once, times=10)
    await world.start_synced(stream_lists=False)
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.9"))
    await world.feed.shows("10.0.0.9")
    assert max(world.time.delays) >= 15
    world.time.now += 5.0
    world.server.watches[SLICES].once(end_at_once)
    pauses = len(world.time.delays)
    for watcher in world.server.open_watches(SLICES):
        watcher.abort()
    await world.server.until(lambda: world.server.count("watch", resource=SLICES) == 13)
    assert all(delay <= 3.2 for delay in world.time.delays[pauses:])


async def test_a_history_that_went_back_during_an_outage_is_noticed_within_seconds(
    world: World,
) -> None:
    await world.start_synced()
    await outage(world)
    world.server.restore(500)
    world.server.forget(SLICES)
    world.server.put(SLICES, slice_json("greeter-7", "10.0.0.7"))
    await back(world)
    # It has accepted positions that it has yet to come to.
    assert world.feed.addresses == FULL
    world.time.advance(10.0)
    # Twice: all that was listed is gone, which is believed after a second look.
    await world.feed.shows("10.0.0.7")
    assert world.feed.epochs == ["kubernetes", "kubernetes@501"]


async def test_a_history_that_went_back_and_has_grown_past_the_position_is_noticed_too(
    world: World,
) -> None:
    await world.start_synced()
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    await world.feed.shows(*FULL, "10.0.0.3")
    await outage(world)
    world.server.restore(500)
    world.server.delete(SLICES, "greeter-2")
    world.server.version = world.feed.version + 1_000
    await back(world)
    assert world.feed.addresses == [*FULL, "10.0.0.3"]
    world.time.advance(10.0)
    await world.feed.shows(*FULL)


async def test_a_short_break_costs_no_list(world: World) -> None:
    await world.start_synced()
    lists = world.server.count("stream", "list")
    for watcher in world.server.open_watches():
        watcher.abort()
    await world.observer.failed("broken", times=2)
    await world.server.watched()
    world.time.advance(300.0)
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    await world.feed.shows(*FULL, "10.0.0.3")
    assert world.server.count("stream", "list") == lists


async def test_gaps_are_verified_once_a_minute_at_most(world: World) -> None:
    await world.start_synced()
    began = world.time.now
    for _ in range(12):
        await outage(world)
        await back(world)
        world.time.advance(10.0)
        world.server.put(SERVICES, service_json())
        world.server.put(SLICES, slice_json("greeter-1", *FULL))
        world.server.bookmark()
        await world.feed.until(lambda: world.feed.version == world.server.version)
    minutes = (world.time.now - began) / 60
    assert 2 < world.server.count("stream", "list") - 2 <= 2 * (minutes + 1)


async def test_a_server_that_is_starting_and_refuses_rights_is_asked_again_soon(
    world: World,
) -> None:
    await world.start_synced()
    for number in range(4):
        await outage(world)
        for resource in (SLICES, SERVICES):
            world.server.watches[resource].once(refuse(403, "forbidden"), times=3)
        await back(world)
        world.time.advance(6.0)
        world.server.put(SLICES, slice_json("greeter-1", f"10.0.1.{number}"))
        await world.feed.shows(f"10.0.1.{number}")
    assert max(world.time.delays) <= 2.0


async def test_a_403_that_lasts_after_an_outage_is_retried_less_and_less(world: World) -> None:
    await world.start_synced()
    await outage(world)
    for resource in (SLICES, SERVICES):
        world.server.watches[resource].always(refuse(403, "forbidden"))
    await world.server.start()
    await world.observer.failed("forbidden", times=80)
    assert max(world.time.delays) >= 10.0


async def test_positions_that_are_lost_in_one_outage_after_the_other_are_listed_at_once(
    world: World,
) -> None:
    await world.start_synced()
    for number in range(6):
        await outage(world)
        world.server.compact()
        world.server.put(SLICES, slice_json("greeter-1", f"10.0.1.{number}"))
        await back(world)
        await world.feed.shows(f"10.0.1.{number}")
    assert max(world.time.delays) <= 2.0
