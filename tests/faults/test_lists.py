"""Lists that fail, lie, or come in pieces."""

import asyncio

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from lookaside.model import ServiceKey
from tests.faults.apiserver import (
    SERVICES,
    SLICES,
    Fault,
    Json,
    Request,
    answer,
    hang,
    line,
    refuse,
    service_json,
    slice_json,
    status,
)
from tests.faults.conftest import World
from tests.faults.recording import GREETER

STREAM_OR_PAGES = pytest.mark.parametrize("stream_lists", [True, False])


@STREAM_OR_PAGES
async def test_a_list_gives_the_endpoints(world: World, stream_lists: bool) -> None:
    await world.start_synced(stream_lists=stream_lists)
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    assert world.feed.version == world.server.version
    assert world.feed.epochs == ["kubernetes"]
    assert bool(world.server.count("stream")) is stream_lists
    assert "version 1002 of 'kubernetes'" in repr(world.source)


async def test_one_namespace_is_asked_for_alone(world: World) -> None:
    world.server.put(
        SERVICES, {**service_json("other"), "metadata": {"name": "x", "namespace": "y"}}
    )
    await world.start_synced(namespaces=["default"])
    assert set(world.feed.records) == {GREETER}
    assert all("/namespaces/default/" in request.http.path for request in world.server.requests)


def elsewhere(stored: Json, namespace: str) -> Json:
    return {**stored, "metadata": {**stored["metadata"], "namespace": namespace}}


async def test_several_namespaces_are_asked_for_one_by_one(world: World) -> None:
    there = ServiceKey("shop", "greeter")
    for namespace in ("shop", "other"):
        world.server.put(SERVICES, elsewhere(service_json(), namespace))
        world.server.put(SLICES, elsewhere(slice_json("greeter-9", "10.9.0.1"), namespace))

    await world.start_synced(namespaces=["default", "shop"])

    assert set(world.feed.records) == {GREETER, there}
    asked = {request.http.match_info["namespace"] for request in world.server.requests}
    assert asked == {"default", "shop"}


async def test_a_namespace_that_is_listed_anew_leaves_the_others_as_they_are(world: World) -> None:
    there = ServiceKey("shop", "greeter")
    world.server.put(SERVICES, elsewhere(service_json(), "shop"))
    world.server.put(SLICES, elsewhere(slice_json("greeter-9", "10.9.0.1"), "shop"))
    await world.start_synced(namespaces=["default", "shop"])
    await world.server.until(lambda: len(world.server.watchers) == 4)

    [mine] = [
        each
        for each in world.server.watchers
        if each.resource == SLICES and each.request.http.match_info["namespace"] == "default"
    ]
    mine.send(line("ERROR", status(410, "Expired")))
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.7"))
    await world.feed.shows("10.0.0.7")

    [endpoint] = world.feed.records[there].endpoints["grpc"]
    assert endpoint.address == "10.9.0.1"


def refuse_shop(world: World) -> None:
    async def fault(request: Request) -> web.StreamResponse | None:
        if request.http.match_info["namespace"] == "shop":
            return await refuse(403, "forbidden")(request)
        return None

    world.server.lists[SLICES].always(fault)


async def test_a_namespace_that_can_not_be_listed_holds_the_others_up_for_a_grace_alone(
    world: World,
) -> None:
    refuse_shop(world)
    world.server.put(SERVICES, elsewhere(service_json(), "shop"))
    world.server.put(SLICES, elsewhere(slice_json("greeter-9", "10.9.0.1"), "shop"))
    began = world.time.now
    source = world.start(namespaces=["default", "shop"], namespace_grace=20.0, stale_after=100.0)
    await world.feed.until(lambda: world.feed.synced)
    assert world.time.now - began >= 20.0
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    reason = "forbidden: a Role in namespace 'shop' needs the rule"
    assert list(world.feed.missing) == ["shop"]
    assert reason in world.feed.missing["shop"]
    assert reason in source.trouble
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.7"))
    await world.feed.shows("10.0.0.7")
    # It is not the others that are stale.
    world.server.bookmark()
    age = source.age()
    assert age is not None
    assert age < 100.0

    world.server.lists[SLICES].always(None)
    await world.feed.until(lambda: not world.feed.missing)
    there = world.feed.records[ServiceKey("shop", "greeter")]
    assert [each.address for each in there.endpoints["grpc"]] == ["10.9.0.1"]
    assert world.feed.replaced == 1
    assert source.trouble == ""


async def test_within_the_grace_nothing_is_served_while_a_namespace_is_to_come(
    world: World,
) -> None:
    refuse_shop(world)
    world.start(namespaces=["default", "shop"], namespace_grace=1e9)
    await world.observer.failed("forbidden", times=5)
    assert not world.feed.synced
    world.server.lists[SLICES].always(None)
    await world.feed.until(lambda: world.feed.synced)
    assert not world.feed.missing


@pytest.mark.parametrize("namespaces", [[], ["default"], ["default", "shop"]])
async def test_where_none_can_be_listed_nothing_is_ever_served(
    world: World, namespaces: list[str]
) -> None:
    world.server.lists[SLICES].always(refuse(403, "forbidden"))
    world.start(namespaces=namespaces, namespace_grace=1.0)
    await world.observer.failed("forbidden", times=10)
    assert not world.feed.synced


@pytest.mark.parametrize("resource", [SLICES, SERVICES])
async def test_a_list_that_hangs_leaves_nothing_synced_and_the_source_stoppable(
    world: World, resource: str
) -> None:
    world.server.lists[resource].always(hang)
    source = world.start()
    await world.server.until(lambda: world.server.count("stream") == 2)
    await world.stop()
    assert not source.synced
    assert not world.feed.synced


async def test_a_list_that_hangs_is_tried_again_after_the_read_timeout(world: World) -> None:
    world.server.lists[SLICES].once(hang, times=2)
    world.start(read_timeout=0.2)
    await world.feed.shows("10.0.0.1", "10.0.0.2")
    assert world.observer.errors["silent"] >= 2
    assert world.time.delays


@pytest.mark.parametrize(
    ("namespaces", "where"),
    [([], "a ClusterRole"), (["default"], "a Role in namespace 'default'")],
)
async def test_a_forbidden_list_names_the_missing_rule_once(
    world: World, namespaces: list[str], where: str
) -> None:
    world.server.lists[SLICES].once(refuse(403, "endpointslices is forbidden"), times=8)
    with capture_logs() as logs:
        world.start(namespaces=namespaces)
        await world.observer.failed("forbidden", times=4)
        assert not world.feed.synced
        await world.feed.until(lambda: world.feed.synced)
    [entry] = [entry for entry in logs if entry["event"] == "forbidden"]
    assert entry["missing"] == (
        f'{where} needs the rule apiGroups: ["discovery.k8s.io"], '
        'resources: ["endpointslices"], verbs: ["list", "watch"]'
    )
    delays = world.time.delays
    assert len(delays) == 8
    assert all(0.8 <= delay <= 30 for delay in delays)
    assert sum(delays[4:]) > 4 * sum(delays[:3])


WRONG_LISTS = {
    "a Status": answer(status(500, "etcd is away")),
    "no version": answer({"kind": "EndpointSliceList", "metadata": {}, "items": []}),
    "no metadata": answer({"kind": "EndpointSliceList", "items": []}),
    "an empty object": answer({}),
    "HTML": answer(b"<html>Sign in to the hotel's network</html>"),
    "cut": answer(b'{"kind":"EndpointSliceList","metadata":{"resourceVersion":"9"},"items":[{'),
    "refused": refuse(500, "internal error"),
}


@pytest.mark.parametrize("fault", WRONG_LISTS.values(), ids=WRONG_LISTS.keys())
async def test_a_wrong_list_is_an_error_and_what_is_cached_stays(
    world: World, fault: Fault
) -> None:
    await world.start_synced(stream_lists=False)
    world.server.lists[SLICES].once(fault, times=3)
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    await world.feed.shows("10.0.0.1", "10.0.0.2", "10.0.0.3")
    world.server.compact(SLICES)
    world.server.put(SLICES, slice_json("greeter-1"))
    await world.feed.shows("10.0.0.3")
    views = len(world.feed.views)
    for watcher in world.server.open_watches(SLICES):
        watcher.end()
    world.server.compact(SLICES)
    await world.server.until(lambda: world.server.count("list", resource=SLICES) == 5)
    await world.server.watched()
    assert world.feed.views[views:] == []
    assert world.observer.errors["garbled"] + world.observer.errors["error"] == 3


@STREAM_OR_PAGES
async def test_an_empty_list_after_a_full_one_is_held_until_a_second_read_agrees(
    world: World, stream_lists: bool
) -> None:
    await world.start_synced(stream_lists=stream_lists)
    world.server.forget(SLICES)
    world.server.lists[SLICES].once(lambda request: _allow())
    world.server.lists[SLICES].once(refuse(503))
    await relist(world)
    await world.observer.failed("emptied")
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    await world.feed.shows()
    assert world.server.requests[-1].verb in ("list", "watch")
    assert world.server.count("list", "stream", resource=SLICES) == 4
    assert world.feed.views == [["10.0.0.1", "10.0.0.2"], []]


async def test_an_empty_list_that_a_second_read_denies_is_never_shown(world: World) -> None:
    await world.start_synced(stream_lists=False)
    empty = {"kind": "EndpointSliceList", "metadata": {"resourceVersion": "2000"}, "items": []}
    world.server.version = 2000
    world.server.lists[SLICES].once(answer(empty))
    await relist(world)
    await world.observer.failed("emptied")
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.9"))
    await world.feed.shows("10.0.0.1", "10.0.0.2", "10.0.0.9")
    assert [] not in world.feed.views


async def many(world: World) -> list[str]:
    """Give the greeter 40 slices more."""
    addresses = [f"10.1.0.{number}" for number in range(40)]
    world.server.put(SLICES, *[slice_json(f"more-{each}", each) for each in addresses])
    return sorted(["10.0.0.1", "10.0.0.2", *addresses])


def forget_most(world: World) -> None:
    """Leave the greeter its first slice, without a word to the watchers."""
    world.server.forget(SLICES)
    for watcher in world.server.open_watches(SLICES):
        watcher.frozen = True
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.1", "10.0.0.2"))
    for watcher in world.server.open_watches(SLICES):
        watcher.frozen = False


@STREAM_OR_PAGES
async def test_a_list_that_has_lost_most_is_held_until_a_quorum_read_agrees(
    world: World, stream_lists: bool
) -> None:
    full = await many(world)
    await world.start_synced(stream_lists=stream_lists)
    assert world.feed.addresses == full
    forget_most(world)
    world.server.lists[SLICES].once(lambda request: _allow())
    world.server.lists[SLICES].once(refuse(503))
    with capture_logs() as logs:
        await relist(world)
        await world.observer.failed("emptied")
        assert world.feed.addresses == full
        assert "in doubt of the last list of endpointslices" in repr(world.source)
        await world.feed.shows("10.0.0.1", "10.0.0.2")
    assert "in doubt" not in repr(world.source)
    confirming = [each for each in world.server.requests if each.verb == "list"][-1]
    assert "resourceVersion" not in confirming.query
    assert world.feed.views == [full, ["10.0.0.1", "10.0.0.2"]]
    assert world.observer.errors["emptied"] == 1
    told = [entry for entry in logs if entry.get("reason") == "emptied"]
    assert [entry["error"] for entry in told] == [
        "the list lacks 40 of 41 objects; it is read again"
    ]
    assert {"event": "the second list is believed", "held": 41, "listed": 1}.items() <= next(
        entry for entry in logs if entry["event"].startswith("the second")
    ).items()


async def test_a_list_that_has_lost_most_by_mistake_is_never_shown(world: World) -> None:
    full = await many(world)
    await world.start_synced(stream_lists=False)
    world.server.version = 2000
    [few] = [slice_json("greeter-1", "10.0.0.1")]
    few["metadata"] |= {"namespace": "default", "resourceVersion": "2000"}
    wrong = {"kind": "EndpointSliceList", "metadata": {"resourceVersion": "2000"}, "items": [few]}
    world.server.lists[SLICES].once(answer(wrong))
    await relist(world)
    await world.observer.failed("emptied")
    world.server.put(SLICES, slice_json("later", "10.0.0.9"))
    await world.feed.shows(*full, "10.0.0.9")
    assert world.feed.views == [full, sorted([*full, "10.0.0.9"])]


async def test_a_mass_removal_by_events_is_believed_at_once(world: World) -> None:
    await many(world)
    await world.start_synced()
    for number in range(40):
        world.server.delete(SLICES, f"more-10.1.0.{number}")
    await world.feed.shows("10.0.0.1", "10.0.0.2")
    assert not world.observer.errors


@pytest.mark.parametrize("mass_removal", [0.0, 1.0])
async def test_how_much_a_list_may_lose_is_settable(world: World, mass_removal: float) -> None:
    await many(world)
    await world.start_synced(mass_removal=mass_removal)
    forget_most(world)
    await relist(world)
    await world.feed.shows("10.0.0.1", "10.0.0.2")
    assert world.observer.errors == {"expired": 1}


async def test_nothing_is_doubted_where_that_is_turned_off(world: World) -> None:
    await world.start_synced(mass_removal=0.0)
    world.server.forget(SLICES)
    await relist(world)
    await world.feed.shows()
    assert world.observer.errors == {"expired": 1}


async def test_an_empty_list_at_the_start_is_believed(world: World) -> None:
    world.server.forget(SLICES)
    await world.start_synced()
    assert world.feed.addresses == []
    assert not world.observer.errors


async def test_a_list_comes_in_pages(world: World) -> None:
    addresses = [f"10.0.1.{number}" for number in range(7)]
    for address in addresses:
        world.server.put(SLICES, slice_json(f"slice-{address}", address))
    await world.start_synced(stream_lists=False, page_size=3)
    assert world.feed.addresses == sorted(["10.0.0.1", "10.0.0.2", *addresses])
    assert world.server.count("list", resource=SLICES) == 3


async def test_an_expired_page_token_begins_the_list_anew_in_one_piece(world: World) -> None:
    for number in range(7):
        world.server.put(SLICES, slice_json(f"slice-{number}", f"10.0.1.{number}"))
    world.server.tokens_expire = True
    await world.start_synced(stream_lists=False, page_size=3)
    assert len(world.feed.addresses or []) == 9
    queries = [each.query for each in world.server.requests if each.resource == SLICES]
    assert queries[0] == {"limit": "3"}
    assert queries[1].keys() == {"limit", "continue"}
    assert queries[2] == {}


async def test_a_server_that_streams_no_lists_is_asked_for_pages_from_then_on(
    world: World,
) -> None:
    world.server.streams_lists = False
    await world.start_synced()
    assert not world.time.delays
    assert not world.observer.errors
    await relist(world)
    assert world.server.count("stream", resource=SLICES) == 1
    assert world.server.count("list", resource=SLICES) == 2


async def test_a_server_that_streams_no_lists_is_followed_after_its_pages(world: World) -> None:
    world.server.streams_lists = False
    await world.start_synced()
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.7"))
    await world.feed.until(lambda: world.feed.addresses == ["10.0.0.7"])
    assert not world.observer.errors
    assert world.task is not None
    assert not world.task.done()


async def test_a_streamed_list_that_ends_early_is_not_believed(world: World) -> None:
    world.server.lists[SLICES].once(answer(b""))
    world.server.lists[SLICES].once(
        answer(b'{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"b"}}}\n')
    )
    await world.start_synced()
    assert world.feed.views == [["10.0.0.1", "10.0.0.2"]]
    assert world.observer.errors["garbled"] == 2


async def test_a_relist_publishes_what_is_gone(world: World) -> None:
    world.server.put(SERVICES, service_json("other"))
    world.server.put(SLICES, slice_json("other-1", "10.0.0.9", service="other"))
    await world.start_synced()
    world.server.forget(SERVICES)
    world.server.put(SERVICES, service_json("other"))
    await relist(world, SERVICES)
    await world.feed.until(lambda: GREETER not in world.feed.records)
    assert len(world.feed.records) == 1
    assert world.feed.replaced == 1


async def test_a_list_above_the_cap_is_refused(world: World) -> None:
    world.server.put(SLICES, slice_json("big", *[f"10.1.0.{n}" for n in range(200)]))
    world.start(stream_lists=False, max_page=2_000)
    await world.observer.failed("oversized", times=2)
    assert not world.feed.synced


async def test_a_malformed_slice_and_endpoint_of_a_list_are_set_aside_alone(world: World) -> None:
    bad_endpoint = slice_json("bad-endpoint", "10.0.0.3", "not an address", "10.0.0.4")
    bad_endpoint["endpoints"].append({"addresses": "10.0.0.5"})
    world.server.put(SLICES, bad_endpoint, slice_json("bad", "10.0.0.6", addressType=4))
    await world.start_synced(stream_lists=False)
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert world.observer.errors == {"malformed": 3}


async def test_a_slice_that_turns_malformed_keeps_its_last_good_endpoints(world: World) -> None:
    await world.start_synced()
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.7", addressType=4))
    await world.observer.failed("malformed")
    await relist(world)
    await world.observer.failed("malformed", times=2)
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    assert world.source is not None
    async with asyncio.timeout(20):
        while world.source.trouble:  # noqa: ASYNC110
            await asyncio.sleep(0)  # the list is being taken
    world.server.delete(SLICES, "greeter-1")
    await world.feed.shows()


async def test_null_lists_and_conditions_are_legal(world: World) -> None:
    world.server.put(
        SLICES,
        slice_json("nothing", endpoints=None, ports=None),
        slice_json("unsaid", endpoints=[{"addresses": ["10.0.0.3"], "conditions": None}]),
        slice_json("null", endpoints=[{"addresses": ["10.0.0.4"], "conditions": {"ready": None}}]),
    )
    await world.start_synced(stream_lists=False)
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert not world.observer.errors


async def test_a_slice_without_its_label_is_ignored(world: World) -> None:
    world.server.put(SLICES, slice_json("stray", "10.0.0.3", service=None))
    await world.start_synced()
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.3", service=None))
    await world.feed.shows()
    assert not world.observer.errors


async def test_an_address_in_two_slices_is_given_once(world: World) -> None:
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.2", "10.0.0.3"))
    await world.start_synced()
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    world.server.delete(SLICES, "greeter-1")
    await world.feed.shows("10.0.0.2", "10.0.0.3")


async def relist(world: World, resource: str = SLICES) -> None:
    """Make the source list a resource anew, and wait until it has asked."""
    before = world.server.count("list", "stream", resource=resource)
    world.server.compact(resource)
    world.server.send_error(resource, status(410, "too old"))
    await world.server.until(
        lambda: world.server.count("list", "stream", resource=resource) > before
    )


async def _allow() -> None:
    """Let the server answer as it will."""


async def test_sixty_namespaces_are_watched_at_once(world: World) -> None:
    """Each of them holds two connections for good; an HTTP client's pool has a hundred."""
    names = [f"ns-{number}" for number in range(60)]
    for name in names:
        world.server.put(SERVICES, elsewhere(service_json(), name))
    world.start(namespaces=names)
    await world.feed.until(lambda: world.feed.synced, seconds=60.0)
    assert len(world.feed.records) == 60
    assert len(world.server.open_watches()) == 120


async def test_a_namespace_that_is_refused_later_is_lost_by_itself(world: World) -> None:
    there = ServiceKey("shop", "greeter")
    world.server.put(SERVICES, elsewhere(service_json(), "shop"))
    world.server.put(SLICES, elsewhere(slice_json("greeter-9", "10.9.0.1"), "shop"))
    await world.start_synced(namespaces=["default", "shop"], stale_after=100.0)
    await world.server.until(lambda: len(world.server.watchers) == 4)

    async def forbidden(request: Request) -> web.StreamResponse | None:
        if request.http.match_info["namespace"] != "shop":
            return None
        # Time flies while a source retries: the others hear of their API server meanwhile.
        world.server.bookmark()
        return await refuse(403, "forbidden")(request)

    doors = [world.server.lists, world.server.watches]
    for door in doors:
        for resource in (SLICES, SERVICES):
            door[resource].always(forbidden)
    for watcher in list(world.server.watchers):
        if watcher.request.http.match_info["namespace"] == "shop":
            watcher.abort()
    await world.feed.until(lambda: bool(world.feed.lost))
    assert list(world.feed.lost) == ["shop"]
    assert "forbidden: a Role in namespace 'shop' needs the rule" in world.feed.lost["shop"]
    assert world.source is not None
    assert world.source.trouble_in("default") == ""
    assert "forbidden" in world.source.trouble_in("shop")

    # The others go on, and so does the version up to which they hold; what was known stays.
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.7"))
    await world.feed.shows("10.0.0.7")
    world.server.bookmark()
    await world.feed.until(lambda: world.feed.version == world.server.version)
    assert there in world.feed.records
    assert not world.feed.turns

    changed = elsewhere(slice_json("greeter-9", "10.9.0.2"), "shop")
    world.server.put(SLICES, changed)
    for door in doors:
        for resource in (SLICES, SERVICES):
            door[resource].always(None)
    await world.server.until(lambda: len(world.server.open_watches()) == 4)
    world.server.bookmark()
    await world.feed.until(lambda: not world.feed.lost)
    [endpoint] = world.feed.records[there].endpoints["grpc"]
    assert endpoint.address == "10.9.0.2"
    assert not world.feed.turns


async def test_where_every_namespace_is_silent_the_whole_is_stale(world: World) -> None:
    await world.start_synced(namespaces=["default", "shop"], stale_after=5.0)
    await world.server.until(lambda: len(world.server.watchers) == 4)
    world.time.now += 6.0
    await world.feed.until(lambda: world.feed.stale)
    world.server.bookmark()
    await world.feed.until(lambda: not world.feed.stale)
    await world.feed.until(lambda: not world.feed.lost)


async def test_what_there_is_of_a_service_that_is_not_there_is_told(world: World) -> None:
    world.server.put(SLICES, slice_json("nobody-1", "10.0.0.9", service="nobody"))
    await world.start_synced(namespaces=["default"])
    absence = world.feed.absence
    assert absence(ServiceKey("default", "nobody")) == (
        "EndpointSlice nobody-1 names it, but there is no such Service"
    )
    assert absence(ServiceKey("shop", "greeter")) == "cluster doesn't watch namespace shop"
    assert absence(GREETER) == absence(ServiceKey("default", "other")) == ""
