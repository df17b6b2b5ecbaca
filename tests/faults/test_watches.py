"""Watches that end, lie, or fall silent."""

import asyncio
import time
from functools import partial

import pytest
from structlog.testing import capture_logs

from lookaside.model import ServiceKey
from tests.faults.apiserver import (
    SERVICES,
    SLICES,
    Fault,
    answer,
    end_at_once,
    line,
    refuse,
    service_json,
    slice_json,
    status,
)
from tests.faults.conftest import World
from tests.faults.recording import GREETER

FULL = ["10.0.0.1", "10.0.0.2"]


def relists(world: World, resource: str = SLICES) -> int:
    return world.server.count("list", "stream", resource=resource) - 1


async def changes_reach(world: World) -> None:
    """Check that the source still follows."""
    await world.server.watched()
    world.server.put(SLICES, slice_json("later", "10.0.9.9"))
    await world.feed.shows(*FULL, "10.0.9.9")


async def test_a_watch_asks_for_bookmarks_and_an_end(world: World) -> None:
    await world.start_synced(stream_lists=False)
    for request in world.server.requests:
        if request.verb == "watch":
            assert request.query["allowWatchBookmarks"] == "true"
            assert request.query["resourceVersion"] == "1002"
            assert 300 <= int(request.query["timeoutSeconds"]) <= 600


async def test_a_bookmark_of_both_resources_advances_the_version(world: World) -> None:
    await world.start_synced()
    world.server.put(SERVICES, service_json("other"))
    version = world.server.put(SLICES, slice_json("other-1", "10.0.0.9", service="other"))
    world.server.bookmark(SLICES)
    await world.server.until(lambda: True)
    await world.feed.until(lambda: world.feed.version == version - 1)
    world.server.bookmark(SERVICES)
    await world.feed.until(lambda: world.feed.version == version)
    assert world.feed.views == [FULL]


async def test_a_change_has_the_version_of_its_event_while_the_base_stands(world: World) -> None:
    await world.start_synced()
    base = world.feed.version
    other = world.server.put(SERVICES, service_json("other"))
    await world.feed.until(lambda: len(world.feed.records) == 2)
    first = world.server.put(SLICES, slice_json("greeter-1", "10.0.0.1"))
    await world.feed.shows("10.0.0.1")
    assert world.feed.version == other
    assert world.feed.touched[GREETER] == first
    assert base < other < first


async def test_changes_that_come_together_have_each_its_own_version(world: World) -> None:
    world.server.put(SERVICES, service_json("other"))
    await world.start_synced()
    for watcher in world.server.open_watches(SLICES):
        watcher.frozen = True
    first = world.server.put(SLICES, slice_json("greeter-1", "10.0.0.7"))
    second = world.server.put(SLICES, slice_json("other-1", "10.0.0.8", service="other"))
    for watcher in world.server.open_watches(SLICES):
        watcher.frozen = False
        watcher.abort()
    await world.feed.shows("10.0.0.7")
    await world.feed.until(lambda: world.feed.updates == 2)
    assert world.feed.touched == {GREETER: first, ServiceKey("default", "other"): second}


@pytest.mark.parametrize("by_status", [True, False])
async def test_a_lost_position_is_listed_once(world: World, by_status: bool) -> None:
    await world.start_synced()
    world.server.gone_by_status = by_status
    [watcher] = world.server.open_watches(SLICES)
    world.server.compact(SLICES)
    watcher.end()
    await world.observer.failed("expired")
    await changes_reach(world)
    assert relists(world) == 1
    assert world.feed.replaced == 1
    assert world.feed.views == [FULL, [*FULL, "10.0.9.9"]]


@pytest.mark.parametrize("by_status", [True, False])
async def test_a_position_that_is_always_lost_is_listed_twice_a_minute(
    world: World, by_status: bool
) -> None:
    gone = status(410, "Expired")
    fault = refuse(410, "Expired") if by_status else answer(line("ERROR", gone))
    world.server.watches[SLICES].always(fault)
    started = world.time.now
    world.start(stream_lists=False)
    await world.observer.failed("expired", times=20)
    minutes = (world.time.now - started) / 60
    assert relists(world) <= 2 * (minutes + 1)
    assert world.feed.views == [FULL]
    world.server.watches[SLICES].always(None)
    await changes_reach(world)


LOST_POSITIONS = {
    "too large resource version": refuse(504, "Too large resource version: 1002, current: 900"),
    "rejected": refuse(400, "Invalid value: resourceVersion"),
    "ERROR of 504": answer(line("ERROR", status(504, "Too large resource version"))),
    "ERROR of 500": answer(line("ERROR", status(500, "internal"))),
    "ERROR without a code": answer(b'{"type":"ERROR","object":{"kind":"Status"}}\n'),
    "ERROR that is no Status": answer(b'{"type":"ERROR","object":[1]}\n'),
    "ERROR of nothing": answer(b'{"type":"ERROR"}\n'),
}


@pytest.mark.parametrize("fault", LOST_POSITIONS.values(), ids=LOST_POSITIONS.keys())
async def test_a_watch_that_can_not_go_on_is_listed(world: World, fault: Fault) -> None:
    world.server.watches[SLICES].once(fault)
    await world.start_synced(stream_lists=False)
    await changes_reach(world)
    assert relists(world) == 1
    assert world.feed.views == [FULL, [*FULL, "10.0.9.9"]]


KEPT_POSITIONS = {
    "throttled": refuse(429, "too many requests"),
    "unavailable": refuse(503, "try again"),
    "gateway timeout": refuse(504, "upstream request timeout"),
    "forbidden": refuse(403, "no watch for you"),
    "throttled in the stream": answer(line("ERROR", status(429, "too many requests"))),
    "closed at once": end_at_once,
    "cut": answer(b'{"type":"ADDED","object":{"metadata":{"na'),
    "not JSON": answer(b"upstream connect error\n"),
}


@pytest.mark.parametrize("fault", KEPT_POSITIONS.values(), ids=KEPT_POSITIONS.keys())
async def test_a_watch_that_fails_is_resumed_without_a_list(world: World, fault: Fault) -> None:
    world.server.watches[SLICES].once(fault)
    await world.start_synced(stream_lists=False)
    await changes_reach(world)
    assert relists(world) == 0
    assert len(world.time.delays) == 1
    assert world.time.delays[0] >= 0.8


async def test_a_watch_that_fails_twice_with_no_event_is_listed(world: World) -> None:
    world.server.watches[SLICES].once(refuse(500, "stuck"), times=2)
    await world.start_synced()
    [watcher] = world.server.open_watches(SLICES)
    watcher.end()
    await world.observer.failed("error", times=2)
    await changes_reach(world)
    assert relists(world) == 1


async def test_a_day_of_retry_after_is_capped_and_the_last_list_is_served(world: World) -> None:
    await world.start_synced()
    world.server.watches[SLICES].once(refuse(429, headers={"Retry-After": "86400"}), times=3)
    [watcher] = world.server.open_watches(SLICES)
    watcher.end()
    await world.observer.failed("throttled", times=3)
    await changes_reach(world)
    assert world.time.delays[-3:] == [30.0, 30.0, 30.0]
    assert relists(world) == 0
    assert world.feed.views == [FULL, [*FULL, "10.0.9.9"]]


async def test_a_watch_that_closes_a_thousand_times_backs_off(world: World) -> None:
    world.server.watches[SLICES].once(end_at_once, times=1000)
    await world.start_synced(stream_lists=False)
    assert len(world.time.delays) == 1000
    assert all(0.8 <= delay <= 30 for delay in world.time.delays)
    assert all(delay >= 15 for delay in world.time.delays[10:])
    assert relists(world) == 0
    assert world.observer.errors == {"closed": 1000}
    assert world.feed.views == [FULL]


async def test_a_watch_that_has_lived_is_reopened_with_no_pause(world: World) -> None:
    await world.start_synced()
    world.time.now += 300
    for watcher in world.server.open_watches():
        watcher.end()
    await world.server.until(lambda: world.server.count("watch") == 2)
    await changes_reach(world)
    assert not world.time.delays
    assert not world.observer.errors


async def test_a_half_open_connection_is_resumed_within_the_read_timeout(world: World) -> None:
    await world.start_synced(read_timeout=0.8)
    [watcher] = world.server.open_watches(SLICES)
    watcher.frozen = True
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    await world.feed.shows(*FULL, "10.0.0.3")
    assert relists(world) == 0
    assert not world.time.delays


async def test_two_silent_watches_in_a_row_are_listed(world: World) -> None:
    """A position ahead of a restored etcd is accepted, and then nothing ever comes."""
    await world.start_synced(read_timeout=0.5)
    await world.server.until(lambda: relists(world) == 1)
    assert world.server.count("watch", resource=SLICES) == 2
    assert world.observer.errors["silent"] >= 3


async def test_a_connection_cut_in_the_middle_of_a_line_is_resumed(world: World) -> None:
    await world.start_synced()
    good = slice_json("greeter-2", "10.0.0.3")
    [watcher] = world.server.open_watches(SLICES)
    watcher.frozen = True
    world.server.put(SLICES, good)
    watcher.frozen = False
    watcher.send(line("ADDED", good)[:60])
    watcher.abort()
    await world.feed.shows(*FULL, "10.0.0.3")
    assert world.observer.errors == {"broken": 1}
    assert relists(world) == 0


async def test_events_before_a_cut_count(world: World) -> None:
    await world.start_synced()
    [watcher] = world.server.open_watches(SLICES)
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    watcher.send(b'{"type":"MODI')
    watcher.end()
    await world.feed.shows(*FULL, "10.0.0.3")
    await world.observer.failed("garbled")
    await world.server.watched()
    [request] = [r for r in world.server.requests if (r.verb, r.resource) == ("watch", SLICES)]
    assert request.query["resourceVersion"] == str(world.server.version)


async def test_blank_lines_and_unknown_events_are_skipped(world: World) -> None:
    await world.start_synced()
    world.server.send_raw(SLICES, b"\n\n \r\n")
    world.server.send_raw(SLICES, b'{"type":"HICCUP","object":{}}\n\n')
    await changes_reach(world)
    assert not world.observer.errors


@pytest.mark.parametrize("ended", [True, False])
async def test_a_huge_line_is_capped_and_listed(world: World, ended: bool) -> None:
    await world.start_synced(max_line=5_000)
    world.server.send_raw(SLICES, b"x" * 50_000 + (b"\n" if ended else b""))
    await world.observer.failed("oversized")
    await changes_reach(world)
    assert relists(world) == 1


async def test_a_version_that_goes_back_begins_a_new_epoch(world: World) -> None:
    await world.start_synced()
    world.server.restore(500)
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.5"))
    await world.feed.shows("10.0.0.5")
    await world.server.until(lambda: relists(world, SERVICES) == 1)
    await world.server.watched()
    world.server.put(SERVICES, service_json("after"))
    world.server.bookmark()
    await world.feed.until(lambda: world.feed.version == world.server.version)
    assert world.feed.epochs == ["kubernetes", "kubernetes@501"]
    assert world.feed.views == [FULL, ["10.0.0.5"]]
    assert relists(world) == 1


async def test_a_list_that_goes_back_begins_a_new_epoch(world: World) -> None:
    await world.start_synced()
    world.server.restore(500)
    world.server.send_error(SERVICES, status(500, "restored"))
    await world.feed.until(lambda: world.feed.epochs[-1] == "kubernetes@500")
    await world.server.until(lambda: relists(world) == 1)
    await world.server.watched()
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    world.server.bookmark()
    await world.feed.until(lambda: world.feed.version == 501)
    assert len(world.feed.epochs) == 2
    assert world.feed.addresses == [*FULL, "10.0.0.3"]


async def test_a_refused_connection_is_stale_after_a_while_and_then_resumed(world: World) -> None:
    await world.start_synced(stale_after=100.0)
    for watcher in world.server.open_watches():
        watcher.end()
    await world.server.stop()
    await world.feed.until(lambda: world.feed.stale)
    assert world.feed.addresses == FULL
    assert world.observer.errors["unreachable"] > 2
    age = world.source.age() if world.source else None
    assert age is not None
    assert age > 100
    await world.server.start()
    await world.feed.until(lambda: not world.feed.stale)
    await changes_reach(world)
    assert relists(world) == 0
    assert world.feed.turns == [True, False]


async def test_bookmarks_keep_the_view_fresh_and_silence_does_not(world: World) -> None:
    await world.start_synced(stale_after=1.0)
    version = world.feed.version

    def holds(version: int) -> bool:
        return world.feed.version == version

    for _ in range(5):
        world.time.now += 0.9
        version += 1
        world.server.version = version
        world.server.bookmark()
        await world.feed.until(partial(holds, version))
    assert world.feed.turns == []
    world.server.bookmark(SERVICES)
    world.time.now += 1.1
    await world.feed.until(lambda: world.feed.stale)


async def test_a_slice_deleted_and_made_anew_shows_no_empty_list(world: World) -> None:
    await world.start_synced(empty_grace=60.0)
    version = world.feed.version
    world.server.delete(SLICES, "greeter-1")
    world.server.put(SERVICES, service_json("other"))
    world.server.bookmark()
    await world.feed.until(lambda: len(world.feed.records) == 2)
    assert world.feed.version == version
    world.time.advance(59.0)
    world.server.put(SLICES, slice_json("greeter-3", "10.0.0.3"))
    await world.feed.shows("10.0.0.3")
    world.server.bookmark()
    await world.feed.until(lambda: world.feed.version == world.server.version)
    assert not world.time.pending()
    assert world.feed.views == [FULL, ["10.0.0.3"]]


async def test_a_slice_deleted_for_good_empties_the_list_after_the_grace(world: World) -> None:
    await world.start_synced(empty_grace=60.0)
    contacts = world.observer.contacts
    version = world.server.delete(SLICES, "greeter-1")
    world.server.bookmark(SERVICES)
    await world.observer.contacted(contacts + 2)
    assert world.feed.addresses == FULL
    world.time.advance(60.0)
    assert world.feed.addresses == []
    assert world.feed.version == version


async def test_a_service_that_goes_and_is_made_anew_shows_no_empty_list(world: World) -> None:
    await world.start_synced(empty_grace=60.0)
    version = world.feed.version
    world.server.delete(SERVICES, "greeter")
    world.server.delete(SLICES, "greeter-1")
    world.server.put(SERVICES, service_json("other"))
    world.server.bookmark()
    await world.feed.until(lambda: len(world.feed.records) == 2)
    assert world.feed.version == version
    world.server.put(SERVICES, service_json("greeter"))
    world.server.put(SLICES, slice_json("greeter-3", "10.0.0.3"))
    await world.feed.shows("10.0.0.3")
    assert world.feed.views == [FULL, ["10.0.0.3"]]


async def test_a_service_that_goes_for_good_goes_after_the_grace(world: World) -> None:
    await world.start_synced(empty_grace=60.0)
    contacts = world.observer.contacts
    world.server.delete(SERVICES, "greeter")
    world.server.bookmark()
    await world.observer.contacted(contacts + 2)
    assert GREETER in world.feed.records
    world.time.advance(60.0)
    assert GREETER not in world.feed.records


async def test_a_wall_clock_that_jumps_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start_synced()
    real = time.time
    for jump in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        world.server.put(SLICES, slice_json(f"jump{jump}", f"10.0.{int(jump > 0)}.9"))
        world.server.bookmark()
        await world.feed.until(lambda: world.feed.version == world.server.version)
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.9", "10.0.1.9"]
    assert world.feed.turns == []
    assert not world.time.delays
    assert world.server.count("watch") == 0


async def test_a_long_outage_is_logged_once(world: World) -> None:
    with capture_logs() as logs:
        await world.start_synced()
        await world.server.stop()
        await world.observer.failed("unreachable", times=10)
        await world.server.start()
        await changes_reach(world)
        world.server.bookmark()
        await world.feed.until(lambda: world.feed.version == world.server.version)
    events = [(entry["event"], entry.get("reason")) for entry in logs]
    assert events.count(("interrupted", "unreachable")) == 2
    assert events.count(("recovered", None)) == 2


async def test_no_task_is_left_behind(world: World) -> None:
    before = asyncio.all_tasks()
    await world.start_synced()
    await world.stop()
    await world.server.until(lambda: not world.server.open_watches())
    left = {task for task in asyncio.all_tasks() - before if "lookaside" in repr(task)}
    assert not left
