"""Lists and watch events of any resource: JSON to records, tolerant item by item.

The whole answer is decoded strictly first, which is fast. Only where that fails is it decoded
piece by piece, so that what is malformed is set aside alone.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from lookaside.sources.kubernetes.errors import ApiStatus, Garbled

T = TypeVar("T")
J = TypeVar("J")

Key = tuple[str, str]


class Item(Struct, Generic[T], frozen=True):
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


class Page(Struct, Generic[T], frozen=True):
    """A list, or a part of one.

    Attributes:
        items: The objects.
        version: The resource version of the whole list.
        token: What to ask the next page with; "" after the last.
    """

    items: list[Item[T]]
    version: str
    token: str = ""


class Change(Struct, Generic[T], frozen=True):
    """An object was added, changed or deleted."""

    item: Item[T]
    deleted: bool = False

    @property
    def version(self) -> str:
        """The resource version of the object after the change."""
        return self.item.version


class Bookmark(Struct, frozen=True):
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


class _List(Struct, Generic[J], gc=False):
    metadata: _ListMeta
    items: list[J] | None
    kind: str | None = None


class _LooseList(Struct, gc=False):
    metadata: _ListMeta | None = None
    items: list[Raw] | None = None
    kind: str | None = None


class _LooseEvent(Struct, gc=False):
    type: str
    object: Raw = Raw(b"null")


class _ObjectName(Struct, gc=False, rename="camel"):
    name: str
    namespace: str
    resource_version: str = ""


class _LooseObject(Struct, gc=False):
    metadata: _ObjectName


_STATUS = msgspec.json.Decoder(_Status)
_LOOSE_LIST = msgspec.json.Decoder(_LooseList)
_LOOSE_EVENT = msgspec.json.Decoder(_LooseEvent)
_LOOSE_OBJECT = msgspec.json.Decoder(_LooseObject)


def decode_status(body: bytes, code: int, retry_after: float = 0.0) -> ApiStatus:
    """Read the body of a refused request, which need not be a Status.

    Args:
        body: What came with it.
        code: The HTTP status, which counts.
        retry_after: The header's value, in seconds; the body's counts if there is none.
    """
    try:
        status = _STATUS.decode(body).error(in_stream=False)
    except msgspec.DecodeError:
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
            good.append(decoder.decode(raw))
        except msgspec.DecodeError as error:
            flaws.append(f"{noun} {number} is set aside: {error}")
    return good, flaws


class Codec(Generic[J, T]):
    """How the objects of one resource are read.

    Args:
        strict: The JSON of a well-formed object.
        convert: Makes an item of it.
        salvage: Makes an item of the JSON of an object that is not well-formed as a whole, leaving
            out the parts that are not. Raises `msgspec.DecodeError` if nothing is left.
    """

    def __init__(
        self,
        strict: type[J],
        convert: Callable[[J], Item[T]],
        salvage: Callable[[bytes | Raw], Item[T]],
    ) -> None:
        self._convert = convert
        self._salvage = salvage
        self._list: msgspec.json.Decoder[_List[J]] = msgspec.json.Decoder(_List[strict])  # type: ignore[valid-type]
        self._object = msgspec.json.Decoder(strict)
        self._event: msgspec.json.Decoder[_Put[J] | _Deleted[J] | _BookmarkEvent] = (
            msgspec.json.Decoder(
                _Put[strict] | _Modified[strict] | _Deleted[strict] | _BookmarkEvent  # type: ignore[valid-type]
            )
        )

    def page(self, body: bytes) -> Page[T]:
        """Read a list.

        Raises:
            ApiStatus: It is a Status.
            Garbled: It is not a list, or has no resource version.
        """
        try:
            strict = self._list.decode(body)
        except msgspec.DecodeError:
            return self._loose_page(body)
        items = [self._convert(json) for json in strict.items or ()]
        return _page(items, strict.metadata)

    def event(self, line: bytes) -> Change[T] | Bookmark | None:
        """Read a line of a watch. None: an event of no known type.

        Raises:
            ApiStatus: It is an ERROR.
            Garbled: It is not an event.
        """
        try:
            event = self._event.decode(line)
        except msgspec.DecodeError:
            return self._loose_event(line)
        if isinstance(event, _BookmarkEvent):
            meta = event.object.metadata
            end = meta.annotations is not None and meta.annotations.initial_end == "true"
            return Bookmark(meta.resource_version, end)
        return Change(self._convert(event.object), isinstance(event, _Deleted))

    def _loose_page(self, body: bytes) -> Page[T]:
        try:
            loose = _LOOSE_LIST.decode(body)
        except msgspec.DecodeError as error:
            raise Garbled(f"the list can't be read: {error}: {_excerpt(body)}") from error
        if loose.kind == "Status":
            try:
                raise _STATUS.decode(body).error(in_stream=False)
            except msgspec.DecodeError as error:
                raise Garbled(f"a Status for a list: {_excerpt(body)}") from error
        if loose.metadata is None:
            raise Garbled(f"the list has no metadata: {_excerpt(body)}")
        return _page([self._item(raw) for raw in loose.items or ()], loose.metadata)

    def _loose_event(self, line: bytes) -> Change[T] | Bookmark | None:
        try:
            loose = _LOOSE_EVENT.decode(line)
        except msgspec.DecodeError as error:
            raise Garbled(f"a line of the watch can't be read: {error}") from error
        match loose.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                return Change(self._item(loose.object), loose.type == "DELETED")
            case "ERROR":
                try:
                    raise _STATUS.decode(loose.object).error(in_stream=True)
                except msgspec.DecodeError:
                    raise ApiStatus(0, _excerpt(bytes(loose.object)), in_stream=True) from None
            case "BOOKMARK":
                raise Garbled(f"a bookmark can't be read: {_excerpt(line)}")
        return None

    def _item(self, raw: Raw) -> Item[T]:
        try:
            return self._convert(self._object.decode(raw))
        except msgspec.DecodeError:
            pass
        try:
            return self._salvage(raw)
        except msgspec.DecodeError:
            pass
        try:
            meta = _LOOSE_OBJECT.decode(raw).metadata
        except msgspec.DecodeError:
            return Item(None, None, malformed=True)
        return Item((meta.namespace, meta.name), None, meta.resource_version, malformed=True)


def _page(items: list[Item[T]], meta: _ListMeta) -> Page[T]:
    if not meta.resource_version:
        raise Garbled("the list has no resourceVersion")
    return Page(items, meta.resource_version, meta.token or "")


def _excerpt(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace").strip()
    return text or "no text"
