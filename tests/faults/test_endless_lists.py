"""Servers that take a streamed list for a watch, and never say where the list ends."""

from aiohttp import web
from structlog.testing import capture_logs

from tests.faults.apiserver import SERVICES, SLICES, Request, hang, service_json, slice_json
from tests.faults.conftest import World


async def test_a_list_without_an_end_is_asked_for_in_pages_and_that_is_said(world: World) -> None:
    world.server.ends_lists = False
    with capture_logs() as logs:
        await world.start_synced(stream_end=0.1)
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    assert world.observer.errors == {"endless": 2}
    said = [entry["error"] for entry in logs if "pages are used" in entry["event"]]
    assert said == ["a streamed list has not ended after 0.1 s"] * 2
    assert not world.time.delays


async def test_it_is_not_asked_for_as_a_stream_again(world: World) -> None:
    world.server.ends_lists = False
    await world.start_synced(stream_end=0.1)
    world.server.compact()
    for watcher in world.server.open_watches():
        watcher.end()
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    await world.feed.shows("10.0.0.1", "10.0.0.2", "10.0.0.3")
    await world.server.until(lambda: world.server.count("list") == 4)
    assert world.server.count("stream") == 2


async def test_changes_and_bookmarks_do_not_make_it_a_list(world: World) -> None:
    """What comes after the objects is news; it grants no more time."""
    world.server.ends_lists = False
    world.start(stream_end=0.5)
    await world.server.watched(SLICES)
    for number in range(100):
        world.server.put(SERVICES, service_json("greeter", clusterIP=f"10.96.0.{number}"))
        world.server.bookmark()
    await world.feed.until(lambda: world.feed.synced)
    assert world.server.count("list") == 2


async def test_a_server_that_answers_nothing_to_a_stream_is_asked_for_pages(world: World) -> None:
    async def hang_streams(request: Request) -> web.StreamResponse | None:
        return await hang(request) if request.verb == "stream" else None

    world.server.lists[SLICES].always(hang_streams)
    await world.start_synced(stream_end=0.1)
    assert world.server.count("list", resource=SLICES) == 1
