"""Lists and watch events of any resource: JSON to records, tolerant item by item.

The whole answer is decoded strictly first, which is fast. Only where that fails is it taken apart
and decoded piece by piece, so that what is malformed is set aside alone.

Whatever one object holds, nothing but `Unreadable` comes of it, and that stays in here.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from lookaside.registry.steps import Steps, finish
from lookaside.sources.kubernetes.api.errors import ApiStatus, MalformedResponse
from lookaside.sources.kubernetes.api.jsontext import (
    Malformed,
    elements,
    framed,
    members,
    shallow,
)

T = TypeVar("T")
J = TypeVar("J")

Key = tuple[str, str]


class Item(Struct, Generic[T], frozen=True, gc=False):
    """One object of a list or an event.

    Attributes:
        key: Its namespace and name; None if not even these can be read.
        value: What it says; None if it is of no interest, or malformed.
        version: Its resource version, or "".
        flaws: How many of its parts were malformed and set aside.
        malformed: It can't be read as a whole.
    """

    key: Key | None
    value: T | None
    version: str = ""
    flaws: int = 0
    malformed: bool = False


class Page(Struct, Generic[T], frozen=True, gc=False):
    """A list, or a part of one.

    Attributes:
        items: The objects.
        version: The resource version of the whole list.
        token: What to ask the next page with; "" after the last.
    """

    items: list[Item[T]]
    version: str
    token: str = ""


class Change(Struct, Generic[T], frozen=True, gc=False):
    """An object was added, changed or deleted."""

    item: Item[T]
    deleted: bool = False

    @property
    def version(self) -> str:
        """The resource version of the object after the change."""
        return self.item.version


class Bookmark(Struct, frozen=True, gc=False):
    """Everything up to a resource version has been sent.

    Attributes:
        version: That version.
        initial_end: The events up to here were the initial list.
    """

    version: str
    initial_end: bool = False


class _ListMeta(Struct, gc=False, rename="camel"):
    resource_version: str | None = None
    token: str | None = msgspec.field(name="continue", default=None)


class _Details(Struct, gc=False, rename="camel"):
    retry_after_seconds: float | None = None


class _Status(Struct, gc=False, rename="camel"):
    kind: str | None = None
    code: int | None = None
    message: str | None = None
    reason: str | None = None
    details: _Details | None = None

    def error(self, *, in_stream: bool) -> ApiStatus:
        seconds = self.details.retry_after_seconds if self.details else None
        return ApiStatus(
            self.code or 0,
            self.message or self.reason or "no message",
            retry_after=max(seconds or 0.0, 0.0),
            in_stream=in_stream,
        )


class _BookmarkAnnotations(Struct, gc=False):
    initial_end: str | None = msgspec.field(name="k8s.io/initial-events-end", default=None)


class _BookmarkMeta(Struct, gc=False, rename="camel"):
    resource_version: str
    annotations: _BookmarkAnnotations | None = None


class _BookmarkObject(Struct, gc=False):
    metadata: _BookmarkMeta


class _Put(Struct, Generic[J], gc=False, tag_field="type", tag="ADDED"):
    object: J


class _Modified(_Put[J], Generic[J], gc=False, tag_field="type", tag="MODIFIED"):
    pass


class _Deleted(Struct, Generic[J], gc=False, tag_field="type", tag="DELETED"):
    object: J


class _BookmarkEvent(Struct, gc=False, tag_field="type", tag="BOOKMARK"):
    object: _BookmarkObject


class Unreadable(ValueError):
    """A piece of JSON is not what it should be."""


_STATUS = msgspec.json.Decoder(_Status)
_LIST_META = msgspec.json.Decoder(_ListMeta)
_BOOKMARK = msgspec.json.Decoder(_BookmarkObject)
_TEXT = msgspec.json.Decoder(str)
_RAWS = msgspec.json.Decoder(list[Raw])


def decode(decoder: msgspec.json.Decoder[T], raw: bytes | Raw) -> T:
    """Decode a piece of JSON, without what is nested too deep in it.

    Raises:
        Unreadable: It is not what it should be, for whatever reason.
    """
    try:
        try:
            return decoder.decode(raw)
        except RecursionError:
            return decoder.decode(shallow(bytes(raw)))
    # msgspec has no common base for what it raises: of UTF-8, depth, memory and the rest.
    except Exception as error:
        raise Unreadable(str(error) or type(error).__name__) from error


def decode_status(body: bytes, code: int, retry_after: float = 0.0) -> ApiStatus:
    """Read the body of a refused request, which need not be a Status.

    Args:
        body: What came with it.
        code: The HTTP status, which counts.
        retry_after: The header's value, in seconds; the body's counts if there is none.
    """
    try:
        status = decode(_STATUS, body).error(in_stream=False)
    except Unreadable:
        return ApiStatus(code, _excerpt(body), retry_after=retry_after)
    _, _, message = str(status).partition(": ")
    return ApiStatus(code, message, retry_after=retry_after or status.retry_after)


def each(
    decoder: msgspec.json.Decoder[T], raws: list[Raw] | None, noun: str
) -> tuple[list[T], list[str]]:
    """Decode each alone; return the good ones, and a sentence for each that is not."""
    good: list[T] = []
    flaws: list[str] = []
    for number, raw in enumerate(raws or (), 1):
        try:
            good.append(decode(decoder, raw))
        except Unreadable as error:
            flaws.append(f"{noun} {number} is set aside: {error}")
    return good, flaws


class Codec(Generic[J, T]):
    """The codec of one resource.

    Args:
        strict: The JSON of a well-formed object.
        convert: Makes an item of it.
        salvage: Makes an item of the JSON of an object that is not well-formed as a whole, leaving
            out the parts that are not. Raises `Unreadable` if nothing is left.
    """

    def __init__(
        self,
        strict: type[J],
        convert: Callable[[J], Item[T]],
        salvage: Callable[[bytes | Raw], Item[T]],
    ) -> None:
        self._convert = convert
        self._salvage = salvage
        self._objects: msgspec.json.Decoder[list[J]] = msgspec.json.Decoder(list[strict])  # type: ignore[valid-type]
        self._object = msgspec.json.Decoder(strict)
        self._event: msgspec.json.Decoder[_Put[J] | _Deleted[J] | _BookmarkEvent] = (
            msgspec.json.Decoder(
                _Put[strict] | _Modified[strict] | _Deleted[strict] | _BookmarkEvent  # type: ignore[valid-type]
            )
        )

    def page(self, body: bytes | bytearray) -> Page[T]:
        """Do what `reading` does, at once."""
        return finish(self.reading(body))

    def reading(self, body: bytes | bytearray) -> Steps[Page[T]]:
        """Read a list, in steps.

        Raises:
            ApiStatus: It is a Status.
            MalformedResponse: It is not a list, or has no resource version.
        """
        items: list[Item[T]] = []
        try:
            found = framed(body)
            if found is None:
                meta, raws = self._taken_apart(body)
            else:
                meta, raws = decode(_LIST_META, found.metadata), ()
                for start, end in found.pieces():
                    try:
                        items += self._items(bytes(body[start:end]))
                    except Unreadable:
                        # From here on by the brackets alone.
                        raws = elements(b"[" + bytes(body[start : found.end]) + b"]")
                        break
                    yield 0
            for raw in raws:
                items.append(self._item(raw))
                yield 0
        except (Malformed, Unreadable) as error:
            raise MalformedResponse(f"the list can't be read: {error}: {_excerpt(body)}") from error
        return _page(items, meta)

    def event(self, line: bytes) -> Change[T] | Bookmark | None:
        """Read a line of a watch. None: an event of no known type.

        Raises:
            ApiStatus: It is an ERROR.
            MalformedResponse: It is not an event.
        """
        try:
            event = decode(self._event, line)
            if isinstance(event, _BookmarkEvent):
                return _bookmark(event.object)
            return Change(self._convert(event.object), isinstance(event, _Deleted))
        except Exception:  # noqa: BLE001 (one object may hold anything)
            return self._loose_event(line)

    def _items(self, text: bytes) -> list[Item[T]]:
        """Read some objects, which commas part.

        Raises:
            Unreadable: The end of one can't be found.
        """
        array = b"[" + text + b"]"
        try:
            return [self._convert(json) for json in decode(self._objects, array)]
        except Exception:  # noqa: BLE001 (one object may hold anything)
            return [self._item(bytes(raw)) for raw in decode(_RAWS, array)]

    def _taken_apart(self, body: bytes | bytearray) -> tuple[_ListMeta, Iterable[bytes]]:
        """Return the metadata and the objects of a list that is written in no usual way."""
        try:
            parts = members(bytes(body))
            if parts.get(b"kind") == b'"Status"':
                raise decode(_STATUS, bytes(body)).error(in_stream=False)
            meta = decode(_LIST_META, parts[b"metadata"])
        except KeyError as error:
            raise MalformedResponse(f"the list has no metadata: {_excerpt(body)}") from error
        listed = parts.get(b"items", b"null")
        return meta, () if listed == b"null" else elements(listed)

    def _loose_event(self, line: bytes) -> Change[T] | Bookmark | None:
        try:
            parts = members(line)
            kind = decode(_TEXT, parts.get(b"type", b""))
        except (Malformed, Unreadable) as error:
            raise MalformedResponse(f"a line of the watch can't be read: {error}") from error
        raw = parts.get(b"object", b"null")
        match kind:
            case "ADDED" | "MODIFIED" | "DELETED":
                return Change(self._item(raw), kind == "DELETED")
            case "ERROR":
                try:
                    raise decode(_STATUS, raw).error(in_stream=True)
                except Unreadable:
                    raise ApiStatus(0, _excerpt(raw), in_stream=True) from None
            case "BOOKMARK":
                try:
                    return _bookmark(decode(_BOOKMARK, raw))
                except Unreadable as error:
                    raise MalformedResponse(
                        f"a bookmark can't be read: {_excerpt(line)}"
                    ) from error
        return None

    def _item(self, raw: bytes) -> Item[T]:
        # Whatever it holds and whatever that raises, it is an item.
        with suppress(Exception):
            return self._convert(decode(self._object, raw))
        with suppress(Exception):
            return self._salvage(raw)
        try:
            meta = members(members(raw)[b"metadata"])
            key = decode(_TEXT, meta[b"namespace"]), decode(_TEXT, meta[b"name"])
        except (Malformed, Unreadable, KeyError):
            return Item(None, None, malformed=True)
        version = ""
        with suppress(Unreadable):
            version = decode(_TEXT, meta.get(b"resourceVersion", b'""'))
        return Item(key, None, version, malformed=True)


def _bookmark(json: _BookmarkObject) -> Bookmark:
    meta = json.metadata
    end = meta.annotations is not None and meta.annotations.initial_end == "true"
    return Bookmark(meta.resource_version, end)


def _page(items: list[Item[T]], meta: _ListMeta) -> Page[T]:
    if not meta.resource_version:
        raise MalformedResponse("the list has no resourceVersion")
    return Page(items, meta.resource_version, meta.token or "")


def _excerpt(body: bytes | bytearray) -> str:
    text = body[:200].decode("utf-8", "replace").strip()
    return text or "no text"
