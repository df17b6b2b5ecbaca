"""JSON taken apart by its brackets and strings alone, so that each part can be decoded by itself.

A decoder fails as a whole on what it can't hold: it recurses into each value, wanted or not, and
checks each escape. `metadata.managedFields` is kept by the API server as deep as its writer nested
it. Here nothing recurses, and what stands between two brackets is not looked at.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

PIECE = 128 * 1024
"""Bytes of a list that are read in one go: some 3 ms."""

DEEPEST = 64
"""Maximum depth of nested values. The fields in use are nested less than 20."""

_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(rb'[^\s,:"\[\]{}]++')
# What holds no bracket, then brackets of one direction.
_BRACKETS = re.compile(
    rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+(?:([\[{]++)|([\]}]++))', re.DOTALL
)

_HEAD = re.compile(
    rb'\{(?:"(?:kind|apiVersion)":"[^"\\]*+",)*+"metadata":(\{[^{}\[\]]*+\}),"items":\['
)
_TAIL = re.compile(rb"\]\}\s*\Z")
# No string has a quote within that no backslash precedes, so that it is not in the midst of one.
_NEXT = re.compile(rb'\},(?=\{"(?:metadata|kind|apiVersion)":)')


class Malformed(ValueError):
    """The text is not JSON: a bracket or a quote has no partner, or something is missing."""


class Frame(Struct, frozen=True):
    """A list as the API server writes it: its metadata, and where its objects stand.

    Attributes:
        body: The list.
        metadata: The text of its metadata.
        start: Where its first object begins.
        end: Where its last one ends.
    """

    body: bytes | bytearray
    metadata: bytes
    start: int
    end: int

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Yield where pieces of some objects begin and end, each of `PIECE` bytes or little more.

        One may end within an object, behind another that it holds in an array, and begin there: it
        is no list of values then, nor is the one before.
        """
        at = self.start
        while at < self.end:
            found = _NEXT.search(self.body, min(at + PIECE, self.end), self.end)
            yield at, found.start() + 1 if found else self.end
            at = found.end() if found else self.end


def framed(body: bytes | bytearray) -> Frame | None:
    """Return where the objects of a list stand; None where it is written in another way.

    Go writes the fields of a list in the order of their declaration, without blanks.
    """
    head, tail = _HEAD.match(body), _TAIL.search(body, max(0, len(body) - 8))
    if head is None or tail is None or tail.start() < head.end():
        return None
    return Frame(body, bytes(head[1]), head.end(), tail.start())


def members(text: bytes) -> dict[bytes, bytes]:
    """Return the members of an object: the text of each value by the text of its name.

    Of a name that is there twice the last counts, as for Go and msgspec.

    Raises:
        Malformed: It is not an object.
    """
    found: dict[bytes, bytes] = {}
    at = _after(text, _space(text, 0), b"{")
    if text[at : at + 1] == b"}":
        return found
    while True:
        name = _STRING.match(text, at)
        if name is None:
            raise Malformed(f"byte {at}: expected a name")
        start = _after(text, _space(text, name.end()), b":")
        end = _value_end(text, start)
        found[name[0][1:-1]] = text[start:end]
        at = _space(text, end)
        if text[at : at + 1] == b"}":
            return found
        at = _after(text, at, b",")


def elements(text: bytes) -> Iterator[bytes]:
    """Yield the text of each element of an array.

    Raises:
        Malformed: It is not an array.
    """
    at = _after(text, _space(text, 0), b"[")
    if text[at : at + 1] == b"]":
        return
    while True:
        end = _value_end(text, at)
        yield text[at:end]
        at = _space(text, end)
        if text[at : at + 1] == b"]":
            return
        at = _after(text, at, b",")


def shallow(text: bytes, deepest: int = DEEPEST) -> bytes:
    """Return a value with null instead of each array and object that is nested too deep.

    Args:
        text: The value.
        deepest: How deep the innermost that stays may be nested; the value itself is 1 deep.

    Raises:
        Malformed: Its brackets don't match.
    """
    kept: list[bytes] = []
    depth = start = cut = 0
    for at, change in _turns(text):
        before, depth = depth, depth + change
        if before <= deepest < depth:
            cut = at + deepest - before
        elif depth <= deepest < before:
            kept += [text[start:cut], b"null"]
            start = at + before - deepest
    return b"".join([*kept, text[start:]])


def _turns(text: bytes, at: int = 0) -> Iterator[tuple[int, int]]:
    """Yield where brackets stand that open or close, and how many, until all are closed."""
    depth = 0
    while True:
        found = _BRACKETS.match(text, at)
        if found is None:
            raise Malformed(f"a bracket or quote after byte {at} has no partner")
        at = found.end()
        opened, closed = found.span(1), found.span(2)
        change = opened[1] - opened[0] or max(closed[0] - closed[1], -depth)
        depth += change
        yield max(opened[0], closed[0]), change
        if not depth:
            return


def _value_end(text: bytes, at: int) -> int:
    if text[at : at + 1] in (b"[", b"{"):
        for turn, change in _turns(text, at):
            end = turn - change
        return end
    found = _STRING.match(text, at) or _SCALAR.match(text, at)
    if found is None:
        raise Malformed(f"byte {at}: expected a value")
    return found.end()


def _space(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _after(text: bytes, at: int, mark: bytes) -> int:
    if text[at : at + 1] != mark:
        raise Malformed(f"byte {at}: expected {mark.decode()}")
    return _space(text, at + 1)
