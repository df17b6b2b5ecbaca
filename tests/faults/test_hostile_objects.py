"""Objects that any tenant may create, and that no decoder can hold as a whole."""

from collections.abc import Callable
from typing import Any

import pytest

from lookaside.registry.cluster import Cluster
from lookaside.sources.kubernetes.index import Index
from lookaside.sources.supervision import SupervisedSource
from tests.faults.apiserver import (
    PODS,
    SERVICES,
    SLICES,
    Json,
    nested,
    pod_json,
    service_json,
    slice_json,
    with_pods,
)
from tests.faults.conftest import World
from tests.faults.recording import GREETER

STREAM_OR_PAGES = pytest.mark.parametrize("stream_lists", [True, False])
LEVELS = (1_100, 9_000, 100_000)


def deep(stored: Json, levels: int) -> Json:
    """Give an object what the API server keeps as it was sent (ObjectMeta.managedFields)."""
    fields = [{"manager": "me", "operation": "Update", "fieldsV1": nested(levels)}]
    return {**stored, "metadata": {**stored["metadata"], "managedFields": fields}}


def hostile(levels: int) -> dict[str, Json]:
    return {
        SERVICES: deep(service_json("hostile"), levels),
        SLICES: deep(
            with_pods(slice_json("hostile-1", "10.6.6.6", service="hostile"), "bad"), levels
        ),
        PODS: deep(pod_json("bad", weight="7"), levels),
    }


@STREAM_OR_PAGES
@pytest.mark.parametrize("levels", LEVELS)
async def test_objects_that_are_nested_deep_are_listed_and_read(
    world: World, stream_lists: bool, levels: int
) -> None:
    for resource, stored in hostile(levels).items():
        world.server.put(resource, stored)
    await world.start_synced(stream_lists=stream_lists, pods=True)
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    [record] = [each for key, each in world.feed.records.items() if key != GREETER]
    [endpoint] = record.endpoints["grpc"]
    assert (endpoint.address, endpoint.weight) == ("10.6.6.6", 7)
    assert not world.observer.errors


@pytest.mark.parametrize("levels", LEVELS)
async def test_objects_that_are_nested_deep_are_watched_and_read(world: World, levels: int) -> None:
    await world.start_synced(pods=True)
    for resource, stored in hostile(levels).items():
        world.server.put(resource, stored)
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    await world.feed.shows("10.0.0.1", "10.0.0.2", "10.0.0.3")
    await world.feed.until(lambda: len(world.feed.records) == 2)
    world.server.delete(SERVICES, "hostile")
    await world.feed.until(lambda: len(world.feed.records) == 1)
    assert not world.observer.errors
    assert world.server.count("watch", "stream", "list") == 3


BAD_TEXTS = {
    "a lone surrogate": "\ud800",
    "a NUL": "\0",
    "a text of a megabyte": "x" * 1_000_000,
}


@STREAM_OR_PAGES
@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
async def test_an_object_with_such_a_text_harms_no_other(
    world: World, stream_lists: bool, text: str
) -> None:
    bad = slice_json("bad-1", text, service="bad", unknown=text, addressType=text)
    bad["metadata"]["annotations"] = {"lookaside.dev/weight": text, text: text}
    world.server.put(SLICES, bad)
    world.server.put(SERVICES, service_json("bad", externalName=text))
    await world.start_synced(stream_lists=stream_lists)
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    world.server.put(SLICES, bad)
    world.server.put(SLICES, slice_json("greeter-2", "10.0.0.3"))
    await world.feed.shows("10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert set(world.observer.errors) <= {"malformed"}


async def test_an_error_that_nobody_thought_of_costs_a_list_and_loses_no_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes: with a whole list, an event, or a batch that is published by a timer."""

    def failing_once(real: Callable[..., Any]) -> Callable[..., Any]:
        calls: list[bool] = []

        def fail(*args: Any) -> Any:
            calls.append(True)
            if len(calls) == 1:
                raise RecursionError("nobody thought of it")
            return real(*args)

        return fail

    source = world.start(debounce=0.2)
    await world.stop()
    supervised = SupervisedSource(
        source, world.observer, clock=lambda: world.time.now, sleep=world.time.sleep
    )
    world.run(supervised)
    await world.feed.until(lambda: world.feed.synced)
    await world.server.watched()
    addresses = ["10.0.0.1", "10.0.0.2"]
    steps = [(Cluster, "set_slice"), (Index, "take"), (Cluster, "replacing_slices")]
    for number, (owner, method) in enumerate(steps, 1):
        monkeypatch.setattr(owner, method, failing_once(getattr(owner, method)))
        if method == "replacing_slices":
            world.server.compact()
            for watcher in world.server.open_watches(SLICES):
                watcher.end()
        addresses.append(f"10.0.1.{number}")
        world.server.put(SLICES, slice_json(f"greeter-{number + 1}", addresses[-1]))
        if method == "take":
            await world.observer.until(lambda: bool(world.time.pending()))
            world.time.advance(0.2)
        await world.observer.failed("internal", times=number)
        await world.feed.until(lambda: world.feed.addresses == addresses)
        await world.server.watched()
        assert supervised.trouble == ""
    assert world.feed.views == [addresses[: number + 2] for number in range(4)]
    assert world.feed.epochs == ["kubernetes"]
