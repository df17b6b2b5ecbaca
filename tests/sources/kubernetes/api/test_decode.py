import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.registry.slices import Service
from lookaside.sources.kubernetes.api.decode import Bookmark, Change, Codec, Item, decode_status
from lookaside.sources.kubernetes.api.errors import ApiStatus, MalformedResponse
from lookaside.sources.kubernetes.objects.services import (
    SERVICES,
    ServiceJson,
    convert_service,
    salvage_service,
)

OBJECT = {"metadata": {"name": "a", "namespace": "b", "resourceVersion": "7"}, "spec": {}}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_page_says_how_to_go_on() -> None:
    meta = {"resourceVersion": "9", "continue": "abc", "remainingItemCount": 3}
    page = SERVICES.page(encoded({"kind": "ServiceList", "metadata": meta, "items": [OBJECT]}))
    assert (page.version, page.token, len(page.items)) == ("9", "abc", 1)


@pytest.mark.parametrize("items", [None, []])
def test_a_list_of_nothing_is_empty(items: Any) -> None:
    page = SERVICES.page(encoded({"metadata": {"resourceVersion": "9"}, "items": items}))
    assert (page.items, page.token) == ([], "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"metadata":{"resourceVersion":"9"},"items":[',
        b'{"metadata":{"resourceVersion":""},"items":[]}',
        b'{"metadata":{},"items":[]}',
        b'{"metadata":{"resourceVersion":9},"items":[]}',
        b'{"metadata":{"resourceVersion":"9"},"items":{}}',
        b'{"kind":"Status","metadata":{},"code":"what"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_list_is_garbled(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        SERVICES.page(body)


def test_a_status_for_a_list_is_refused() -> None:
    status = {"kind": "Status", "metadata": {}, "code": 500, "message": "etcd is away"}
    with pytest.raises(ApiStatus, match="500: etcd is away") as caught:
        SERVICES.page(encoded(status))
    assert not caught.value.in_stream


@pytest.mark.parametrize(
    ("kind", "deleted"), [("ADDED", False), ("MODIFIED", False), ("DELETED", True)]
)
def test_changes(kind: str, deleted: bool) -> None:
    event = SERVICES.event(encoded({"type": kind, "object": OBJECT}))
    assert isinstance(event, Change)
    assert (event.deleted, event.version, event.item.key) == (deleted, "7", ("b", "a"))
    assert event == SERVICES.event(encoded({"object": OBJECT, "type": kind}))


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
@pytest.mark.parametrize(("spec", "key"), [(5, ("b", "a")), (None, ("b", "a"))])
def test_a_malformed_object_of_an_event_is_set_aside(
    kind: str, spec: Any, key: tuple[str, str]
) -> None:
    event = SERVICES.event(encoded({"type": kind, "object": {**OBJECT, "spec": spec}}))
    assert isinstance(event, Change)
    assert event.item.malformed
    assert (event.item.key, event.version) == (key, "7")


@pytest.mark.parametrize(
    ("annotations", "end"),
    [
        (None, False),
        ({}, False),
        ({"k8s.io/initial-events-end": "true"}, True),
        ({"k8s.io/initial-events-end": "false", "x": "y"}, False),
    ],
)
def test_bookmarks(annotations: Any, end: bool) -> None:
    meta = {"resourceVersion": "12", "annotations": annotations, "creationTimestamp": None}
    event = SERVICES.event(encoded({"type": "BOOKMARK", "object": {"metadata": meta}}))
    assert event == Bookmark("12", end)


@pytest.mark.parametrize(
    ("status", "code", "retry_after"),
    [
        ({"kind": "Status", "code": 410, "message": "gone"}, 410, 0),
        ({"kind": "Status", "code": 429, "details": {"retryAfterSeconds": 7}}, 429, 7),
        ({"kind": "Status", "code": 429, "details": {"retryAfterSeconds": -7}}, 429, 0),
        ({"kind": "Status", "code": None}, 0, 0),
        ({}, 0, 0),
        ({"code": "410"}, 0, 0),
        (None, 0, 0),
        ([], 0, 0),
    ],
)
def test_errors_in_the_stream(status: Any, code: int, retry_after: float) -> None:
    with pytest.raises(ApiStatus) as caught:
        SERVICES.event(encoded({"type": "ERROR", "object": status}))
    assert (caught.value.code, caught.value.retry_after) == (code, retry_after)
    assert caught.value.in_stream


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"[]",
        b"{}",
        b'{"type":5}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a"',
        b'{"type":"ADDED","object":{"metadata":5,"spec"',
        b'{"type":"BOOKMARK","object":{}}',
        b"upstream connect error or disconnect/reset before headers",
    ],
)
def test_what_is_no_event_is_garbled(line: bytes) -> None:
    with pytest.raises(MalformedResponse):
        SERVICES.event(line)


def test_an_event_of_no_known_type_is_nothing() -> None:
    assert SERVICES.event(b'{"type":"HICCUP","object":{}}') is None


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for read in (SERVICES.page, SERVICES.event):
        with pytest.raises(MalformedResponse):
            read(data)
    assert decode_status(data, 500).code == 500


@given(st.integers(0, 200))
def test_a_line_cut_anywhere_is_garbled(cut: int) -> None:
    whole = encoded({"type": "ADDED", "object": {**OBJECT, "spec": 5}})
    with pytest.raises(MalformedResponse):
        SERVICES.event(whole[: min(cut, len(whole) - 1)])


@pytest.mark.parametrize(
    ("body", "header", "message", "retry_after"),
    [
        (b'{"kind":"Status","code":500,"message":"slow: down"}', 0, "slow: down", 0),
        (b'{"kind":"Status","reason":"TooManyRequests"}', 3, "TooManyRequests", 3),
        (b'{"details":{"retryAfterSeconds":5}}', 0, "no message", 5),
        (b"404 page not found\n", 0, "404 page not found", 0),
        (b"", 0, "no text", 0),
    ],
)
def test_the_body_of_a_refusal(
    body: bytes, header: float, message: str, retry_after: float
) -> None:
    error = decode_status(body, 429, header)
    assert str(error) == f"the API server answers 429: {message}"
    assert (error.code, error.retry_after, error.in_stream) == (429, retry_after, False)


def nested(levels: int) -> bytes:
    return b'{"f:a":' * levels + b"{}" + b"}" * levels


GOOD = b'{"metadata":{"name":"good","namespace":"b","resourceVersion":"8"},"spec":{}}'
HOSTILE = {
    "nested too deep in what is skipped": (
        b'"managedFields":[{"fieldsV1":%s}]' % nested(99_999),
        True,
    ),
    "nested too deep where a text is read": (b'"resourceVersion":%s' % nested(99_999), False),
    "a lone surrogate": (rb'"x":"\ud800"', False),
    "bytes that are no UTF-8": (b'"annotations":{"lookaside.dev/weights":"\xff"}', True),
    "a number of 5000 digits": (b'"uid":' + b"9" * 5_000, True),
    "a name twice": (b'"labels":5,"labels":{}', False),
}


@pytest.mark.parametrize(("member", "read"), HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_one_object_holds_it_is_read_or_set_aside_alone(member: bytes, read: bool) -> None:
    meta = b'"name":"a","namespace":"b","resourceVersion":"7",' + member
    bad = b'{"metadata":{%s},"spec":{}}' % meta
    page = SERVICES.page(b'{"metadata":{"resourceVersion":"9"},"items":[%s,%s]}' % (bad, GOOD))
    assert [(item.key, item.malformed) for item in page.items] == [
        (("b", "a"), not read),
        (("b", "good"), False),
    ]
    event = SERVICES.event(b'{"type":"DELETED","object":%s}' % bad)
    assert isinstance(event, Change)
    assert (event.item, event.deleted) == (page.items[0], True)


def test_a_converter_that_fails_sets_its_object_aside_alone() -> None:
    def convert(json: ServiceJson) -> Item[Service]:
        if json.metadata.name == "a":
            raise ZeroDivisionError
        return convert_service(json)

    codec = Codec(ServiceJson, convert, salvage_service)
    bad = encoded(OBJECT)
    page = codec.page(b'{"metadata":{"resourceVersion":"9"},"items":[%s,%s]}' % (bad, GOOD))
    assert page.items[1] == convert_service(msgspec.json.decode(GOOD, type=ServiceJson))
    event = codec.event(b'{"type":"ADDED","object":%s}' % bad)
    assert isinstance(event, Change)
    assert event.version == "7"


def test_the_body_of_a_refusal_may_be_nested_deep() -> None:
    body = b'{"kind":"Status","message":"no","details":{"x":%s}}' % nested(9_999)
    assert str(decode_status(body, 403)) == "the API server answers 403: no"
