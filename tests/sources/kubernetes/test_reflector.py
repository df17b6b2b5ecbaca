"""The reflector over answers from a script, without sockets."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from lookaside.registry.slices import Service
from lookaside.registry.steps import Steps
from lookaside.sources.kubernetes.api.client import Stream
from lookaside.sources.kubernetes.api.errors import (
    ConnectionBroken,
    KubernetesError,
    ResponseTooLarge,
    Unreachable,
)
from lookaside.sources.kubernetes.objects.resources import SERVICES_RESOURCE
from lookaside.sources.kubernetes.objects.services import ServiceJson
from lookaside.sources.kubernetes.reflector import Reflector
from lookaside.sources.kubernetes.resource_store import ObjectUpdate
from lookaside.sources.kubernetes.source_settings import KubernetesSettings
from lookaside.sources.kubernetes.timing import Timing

Chunk = bytes | KubernetesError


class Done(Exception):
    """The script has come to its end."""


class Body:
    """A stream of a script: chunks, and errors to raise."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = chunks
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, KubernetesError):
                raise chunk
            yield chunk

    async def read(self, limit: int) -> bytearray:
        body = bytearray(b"".join([chunk async for chunk in self.chunks()]))
        if len(body) > limit:
            raise ResponseTooLarge
        return body

    def close(self) -> None:
        self.closed = True


class Stage:
    """A reflector, a script of answers, and what the reflector told."""

    def __init__(
        self,
        *answers: Sequence[Chunk] | KubernetesError,
        selector: str = "",
        metadata_only: bool = False,
        **settings: Any,
    ) -> None:
        self.answers = list(answers)
        self.queries: list[dict[str, str]] = []
        self.accepted: list[str] = []
        self.timeouts: set[tuple[float, float]] = set()
        self.delays: list[float] = []
        self.now = 0.0
        self.told: list[tuple[object, ...]] = []
        self.failures: list[str] = []
        self.contacts = 0
        self.distrust_on_contact = False
        self.reflector: Reflector[ServiceJson, Service] = Reflector(
            msgspec.structs.replace(SERVICES_RESOURCE, metadata_only=metadata_only),
            self,
            self,
            namespace=None,
            selector=selector,
            settings=KubernetesSettings(**{"stream_lists": False, **settings}),
            timing=Timing(clock=lambda: self.now, sleep=self._sleep, rng=random.Random(3)),
        )

    @asynccontextmanager
    async def open(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str,
        connect_timeout: float,
        read_timeout: float,
    ) -> AsyncIterator[Stream]:
        self.accepted.append(accept)
        self.queries.append(dict(query))
        self.timeouts.add((connect_timeout, read_timeout))
        if not self.answers:
            raise Done
        answer = self.answers.pop(0)
        if isinstance(answer, KubernetesError):
            raise answer
        yield Body(answer)

    def replacing(
        self, items: Collection[Service], version: int, *, rewound: bool, at: float
    ) -> Steps[None]:
        yield 0
        self.told.append(("replaced", [item.key.name for item in items], version, rewound))

    def changed(self, updates: Sequence[ObjectUpdate[Service]], version: int, *, at: float) -> None:
        changes = [(each.key[1], each.old is not None, each.new is not None) for each in updates]
        self.told.append(("changed", changes, version))

    def contact(self, *, at: float) -> None:
        self.contacts += 1
        if self.distrust_on_contact:
            self.distrust_on_contact = False
            self.reflector.distrust()

    def failed(self, reason: str, cause: str = "") -> None:
        assert cause.startswith(reason) or not cause
        self.failures.append(reason)

    async def run(self) -> None:
        with pytest.raises(Done):
            await self.reflector.run()

    async def _sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def service(name: str, version: int, **fields: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": {}, **fields}


def page(version: int, *names: str, token: str = "") -> list[Chunk]:
    meta = {"resourceVersion": str(version), "continue": token}
    items = [service(name, version) for name in names]
    return [json.dumps({"kind": "ServiceList", "metadata": meta, "items": items}).encode()]


def event(kind: str, name: str, version: int, **fields: Any) -> bytes:
    return json.dumps({"type": kind, "object": service(name, version, **fields)}).encode() + b"\n"


def bookmark(version: int, *, end: bool = False) -> bytes:
    annotations = {"k8s.io/initial-events-end": "true"} if end else {}
    meta = {"resourceVersion": str(version), "annotations": annotations}
    return json.dumps({"type": "BOOKMARK", "object": {"metadata": meta}}).encode() + b"\n"


async def test_it_lists_and_then_watches_from_there() -> None:
    stage = Stage(page(10, "a", "b"), [event("ADDED", "c", 11)])
    await stage.run()
    assert stage.told == [
        ("replaced", ["a", "b"], 10, False),
        ("changed", [("c", False, True)], 11),
    ]
    first, second, third = stage.queries
    assert first == {"limit": "500"}
    assert second.keys() == {"watch", "allowWatchBookmarks", "resourceVersion", "timeoutSeconds"}
    assert second["resourceVersion"] == "10"
    assert third["resourceVersion"] == "11"
    assert stage.timeouts == {(10.0, 90.0)}
    assert "/api/v1/services at 11, 3 objects" in repr(stage.reflector)


async def test_a_streamed_list_is_taken_whole_and_followed() -> None:
    stage = Stage(
        [
            event("ADDED", "a", 7),
            event("ADDED", "b", 3) + bookmark(9),
            bookmark(10, end=True) + event("DELETED", "a", 11),
        ],
        stream_lists=True,
    )
    await stage.run()
    assert stage.told == [
        ("replaced", ["a", "b"], 10, False),
        ("changed", [("a", True, False)], 11),
    ]
    query = stage.queries[0]
    assert query["sendInitialEvents"] == "true"
    assert query["resourceVersionMatch"] == "NotOlderThan"
    assert query["allowWatchBookmarks"] == "true"
    assert "resourceVersion" not in query


async def test_events_of_one_chunk_are_one_change() -> None:
    chunk = event("ADDED", "b", 11) + event("DELETED", "a", 12) + bookmark(13)
    stage = Stage(page(10, "a"), [chunk])
    await stage.run()
    assert stage.told[1:] == [("changed", [("b", False, True), ("a", True, False)], 13)]


async def test_events_before_a_failure_in_the_same_chunk_count() -> None:
    stage = Stage(page(10), [event("ADDED", "a", 11) + b"garbage\n"])
    await stage.run()
    assert stage.told[1] == ("changed", [("a", False, True)], 11)
    assert stage.failures == ["garbled"]
    assert stage.queries[2]["resourceVersion"] == "11"


async def test_an_event_of_no_known_type_does_not_move_the_position() -> None:
    stage = Stage(page(10), [b'{"type":"HICCUP","object":{}}\n'])
    await stage.run()
    assert stage.told == [("replaced", [], 10, False)]


async def test_a_deletion_of_what_is_not_known_only_moves_the_position() -> None:
    stage = Stage(page(10), [event("DELETED", "x", 11)])
    await stage.run()
    assert stage.told[1:] == [("changed", [], 11)]


async def test_a_malformed_object_is_told_and_leaves_the_old_one() -> None:
    stage = Stage(page(10, "a"), [event("MODIFIED", "a", 11, spec=5), event("DELETED", "a", 12)])
    await stage.run()
    assert stage.told[1:] == [("changed", [], 11), ("changed", [("a", True, False)], 12)]
    assert stage.failures[0] == "malformed"


async def test_an_object_that_can_not_even_be_named_is_told() -> None:
    stage = Stage(page(10, "a"), [b'{"type":"ADDED","object":5}\n'])
    await stage.run()
    assert stage.told[1:] == [("changed", [], 10)]
    assert stage.failures[0] == "malformed"


async def test_a_version_that_goes_back_is_listed_and_told() -> None:
    stage = Stage(page(10), [event("ADDED", "a", 7)], page(8, "a"))
    await stage.run()
    assert stage.told == [("replaced", [], 10, False), ("replaced", ["a"], 8, True)]
    assert stage.failures[0] == "rewound"


async def test_versions_that_are_no_numbers_are_followed_without_order() -> None:
    body = {"metadata": {"resourceVersion": "abc"}, "items": []}
    later = {"metadata": {"resourceVersion": "abb"}}
    lines = json.dumps({"type": "BOOKMARK", "object": later}).encode() + b"\n"
    stage = Stage([json.dumps(body).encode()], [lines])
    await stage.run()
    assert stage.told == [("replaced", [], 0, False), ("changed", [], 0)]
    assert stage.queries[2]["resourceVersion"] == "abb"


async def test_an_outage_costs_no_list() -> None:
    stage = Stage(page(10), *[Unreachable("refused") for _ in range(20)], [bookmark(11)])
    await stage.run()
    assert len(stage.told) == 2
    assert stage.failures[:20] == ["unreachable"] * 20
    assert all("resourceVersion" in query for query in stage.queries[1:])
    assert len(stage.delays) >= 20


async def test_contact_is_an_open_watch_and_its_end_but_no_failure_to_open() -> None:
    stage = Stage(page(10), Unreachable("x"), ConnectionBroken("x"), [ConnectionBroken("x")])
    await stage.run()
    assert stage.contacts == 2


async def test_what_is_distrusted_is_listed_at_once() -> None:
    stage = Stage(page(10), [bookmark(11)], page(12, "a"))
    stage.distrust_on_contact = True
    await stage.run()
    assert stage.told[-1] == ("replaced", ["a"], 12, False)
    assert not stage.delays


async def test_an_empty_list_is_read_again_before_it_is_believed() -> None:
    stage = Stage(page(10, "a"), [ResponseTooLarge()], page(11), page(12), [bookmark(13)])
    await stage.run()
    assert stage.told == [
        ("replaced", ["a"], 10, False),
        ("replaced", [], 12, False),
        ("changed", [], 13),
    ]
    assert stage.failures[:2] == ["oversized", "emptied"]


async def test_watch_timeouts_are_random_within_the_bounds() -> None:
    stage = Stage(page(10), *[[bookmark(10)] for _ in range(50)], watch_timeout=20.0)
    await stage.run()
    timeouts = [int(query["timeoutSeconds"]) for query in stage.queries[1:]]
    assert all(20 <= each <= 40 for each in timeouts)
    assert len(set(timeouts)) > 10


async def test_a_selector_and_metadata_are_asked_for_each_time() -> None:
    stage = Stage(
        page(10, "a", token="x"),
        page(10, "b"),
        [bookmark(11)],
        selector="app=web",
        metadata_only=True,
    )
    await stage.run()
    assert all(query["labelSelector"] == "app=web" for query in stage.queries)
    one, two, *watches = stage.accepted
    assert one == two
    assert "as=PartialObjectMetadataList;" in one
    assert all("as=PartialObjectMetadata;" in accept for accept in watches)


async def test_a_list_that_lacks_most_is_read_again_before_it_is_believed() -> None:
    many = [f"s{number}" for number in range(30)]
    stage = Stage(page(10, *many), [ResponseTooLarge()], page(11, *many[:10]), page(12, *many[:11]))
    with capture_logs() as logs:
        await stage.run()
    assert stage.told == [("replaced", many, 10, False), ("replaced", many[:11], 12, False)]
    assert stage.failures[:2] == ["oversized", "emptied"]
    events = [(entry["event"], entry.get("error", "")) for entry in logs]
    assert (
        "interrupted",
        "the list lacks 20 of 30 objects; it is read again",
    ) in events
    assert ("the second list is believed", "") in events


async def test_while_a_list_is_doubted_what_is_held_stays_and_repr_says_so() -> None:
    stage = Stage(page(10, "a"), [ResponseTooLarge()], page(11), Unreachable("x"), Unreachable("x"))
    await stage.run()
    assert stage.told == [("replaced", ["a"], 10, False)]
    assert "1 objects, in doubt of its last list" in repr(stage.reflector)
    assert "limit" in stage.queries[-1]


async def test_doubt_can_be_turned_off() -> None:
    stage = Stage(page(10, "a"), [ResponseTooLarge()], page(11), mass_removal=0.0)
    await stage.run()
    assert stage.told[-1] == ("replaced", [], 11, False)
    assert stage.failures == ["oversized"]
