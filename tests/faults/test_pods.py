"""Pods: their metadata alone, for weights and labels."""

from functools import partial

import pytest
from structlog.testing import capture_logs

from lookaside.registry.inputs import MergeOptions
from tests.faults.apiserver import (
    PODS,
    SERVICES,
    SLICES,
    annotated,
    hang,
    pod_json,
    refuse,
    service_json,
    slice_json,
    status,
    with_pods,
)
from tests.faults.conftest import World
from tests.faults.recording import GREETER

STREAM_OR_PAGES = pytest.mark.parametrize("stream_lists", [True, False])
FULL = ["10.0.0.1", "10.0.0.2"]


@pytest.fixture(autouse=True)
def two_pods(world: World) -> None:
    """Let the greeter's endpoints be Pods, one of them a canary."""
    world.server.put(SLICES, with_pods(slice_json("greeter-1", *FULL), "one", "two"))
    world.server.put(PODS, pod_json("one", {"version": "v1"}), pod_json("two", {"version": "v2"}))


async def test_pods_are_not_asked_for_in_general(world: World) -> None:
    await world.start_synced()
    assert world.feed.weights == [100, 100]
    assert world.server.count("list", "stream", "watch", resource=PODS) == 0


@STREAM_OR_PAGES
async def test_the_metadata_of_pods_is_all_that_is_asked_for(
    world: World, stream_lists: bool
) -> None:
    world.server.put(PODS, pod_json("two", weight="7"))
    await world.start_synced(pods=True, stream_lists=stream_lists)
    assert world.feed.weights == [100, 7]
    asked = [request for request in world.server.requests if request.resource == PODS]
    assert all(request.metadata_only for request in asked)
    for request in asked:
        assert ("PartialObjectMetadataList" in request.accept) is (request.verb == "list")
    others = {each.accept for each in world.server.requests if each.resource != PODS}
    assert others == {"application/json"}


async def test_whole_pods_do_where_metadata_alone_is_not_to_be_had(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.faults.apiserver.Request.metadata_only", False)
    world.server.put(PODS, pod_json("two", weight="7"))
    await world.start_synced(pods=True)
    world.server.put(PODS, pod_json("one", weight="8"))
    await world.feed.until(lambda: world.feed.weights == [8, 7])


async def test_a_weight_that_a_pod_is_given_and_loses(world: World) -> None:
    await world.start_synced(pods=True)
    version = world.server.put(PODS, pod_json("one", weight="5"))
    await world.feed.until(lambda: world.feed.weights == [5, 100])
    assert world.feed.version_of(GREETER) == version
    world.server.put(PODS, pod_json("one"))
    await world.feed.until(lambda: world.feed.weights == [100, 100])


async def test_a_pod_that_is_not_known_takes_no_endpoint_away(world: World) -> None:
    world.server.put(PODS, pod_json("two", weight="7"))
    await world.start_synced(pods=True)
    world.server.delete(PODS, "two")
    await world.feed.until(lambda: world.feed.weights == [100, 100])
    assert world.feed.views == [FULL]


async def test_rules_by_label_and_labels_as_metadata(world: World) -> None:
    rules = "[{labels: {version: v2}, weight: 10}]"
    world.server.put(SERVICES, annotated(service_json(), weights=rules))
    await world.start_synced(pods=True, options=MergeOptions(labels=("version",)))
    assert world.feed.weights == [100, 10]
    told = [dict(endpoint.metadata) for endpoint in world.feed.endpoints]
    assert told == [{"pod": "one", "version": "v1"}, {"pod": "two", "version": "v2"}]
    world.server.put(PODS, pod_json("one", {"version": "v2"}))
    await world.feed.until(lambda: world.feed.weights == [10, 10])


async def test_a_selector_limits_the_pods_that_are_known(world: World) -> None:
    rules = "[{labels: {version: v1}, weight: 1}, {labels: {version: v2}, weight: 2}]"
    world.server.put(SERVICES, annotated(service_json(), weights=rules))
    await world.start_synced(pods=True, pod_selector="version=v2")
    assert world.feed.weights == [100, 2]
    for request in world.server.requests:
        asked = "version=v2" if request.resource == PODS else None
        assert request.query.get("labelSelector") == asked


async def test_one_namespace_limits_pods_too(world: World) -> None:
    await world.start_synced(pods=True, namespaces=["default"])
    assert all("/namespaces/default/" in each.http.path for each in world.server.requests)


async def test_nothing_is_synced_before_pods_are(world: World) -> None:
    world.server.lists[PODS].once(hang)
    source = world.start(pods=True, read_timeout=0.3)
    await world.server.watched(SLICES, SERVICES)
    await world.observer.until(lambda: "not synced, pods to come" in repr(source))
    assert not world.feed.synced
    assert source.age() is None
    await world.feed.until(lambda: world.feed.synced)
    assert "'cluster' synced" in repr(source)
    assert world.feed.views == [FULL]


async def test_a_missing_right_to_pods_is_named(world: World) -> None:
    world.server.lists[PODS].always(refuse(403, "pods is forbidden"))
    with capture_logs() as logs:
        world.start(pods=True)
        await world.observer.failed("forbidden", times=5)
    [entry] = [entry for entry in logs if entry["event"] == "forbidden"]
    assert entry["resource"] == PODS
    assert entry["missing"] == (
        'a ClusterRole needs the rule apiGroups: [""], resources: ["pods"], '
        'verbs: ["list", "watch"]'
    )
    assert not world.feed.synced


async def test_pods_that_fall_silent_make_the_view_old(world: World) -> None:
    await world.start_synced(pods=True, stale_after=100.0)
    world.time.now += 101.0
    world.server.bookmark(SLICES)
    world.server.bookmark(SERVICES)
    await world.feed.until(lambda: world.feed.stale)
    world.server.bookmark(PODS)
    await world.feed.until(lambda: not world.feed.stale)
    assert world.source is not None
    assert world.source.age() == 0.0


async def test_the_base_holds_for_pods_too(world: World) -> None:
    await world.start_synced(pods=True)
    base = world.feed.version
    contacts = world.observer.contacts
    world.server.put(PODS, pod_json("stranger"))
    world.server.bookmark(SLICES)
    world.server.bookmark(SERVICES)
    await world.observer.contacted(contacts + 3)
    assert world.feed.version == base + 1
    assert world.feed.updates == 0


async def test_pods_lose_their_position_alone(world: World) -> None:
    await world.start_synced(pods=True)
    world.server.compact(PODS)
    world.server.put(PODS, pod_json("two", weight="7"))
    [watcher] = world.server.open_watches(PODS)
    world.server.send_error(PODS, status(410, "too old"))
    watcher.end()
    await world.feed.until(lambda: world.feed.weights == [100, 7])
    await world.server.watched(PODS)
    assert world.server.count("list", "stream", resource=SLICES) == 1


async def test_a_mass_removal_of_pods_is_confirmed_first(world: World) -> None:
    world.server.put(PODS, pod_json("two", weight="7"))
    await world.start_synced(pods=True)
    world.server.forget(PODS)
    world.server.lists[PODS].once(lambda request: _allow())
    world.server.lists[PODS].once(hang)
    world.server.compact(PODS)
    world.server.send_error(PODS, status(410, "too old"))
    await world.observer.failed("emptied")
    assert world.feed.weights == [100, 7]
    assert "in doubt of the last list of pods" in repr(world.source)


async def test_a_restored_etcd_has_pods_listed_anew_too(world: World) -> None:
    await world.start_synced(pods=True)
    world.server.restore(500)
    world.server.put(PODS, pod_json("two", weight="7"))
    await world.feed.until(lambda: world.feed.weights == [100, 7])
    assert world.feed.epochs[-1].startswith("kubernetes@50")
    for resource in (SLICES, SERVICES):
        await world.server.until(partial(listed_twice, world, resource))
    await world.server.watched(SLICES, SERVICES, PODS)
    world.server.put(PODS, pod_json("one", weight="8"))
    world.server.bookmark()
    await world.feed.until(lambda: world.feed.version == world.server.version)
    assert world.feed.weights == [8, 7]
    assert len(world.feed.epochs) == 2


async def test_malformed_metadata_is_set_aside_alone(world: World) -> None:
    bad = pod_json("one", weight="5")
    bad["metadata"]["labels"] = {"version": 5}
    world.server.put(PODS, bad, pod_json("two", weight="7"))
    await world.start_synced(pods=True)
    assert world.feed.weights == [5, 7]
    assert world.observer.errors == {"malformed": 1}


def listed_twice(world: World, resource: str) -> bool:
    return world.server.count("list", "stream", resource=resource) == 2


async def _allow() -> None:
    """Let the server answer as it will."""
