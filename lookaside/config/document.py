"""YAML whose values know where they stand, so that an error can name file, line and column.

Built from the parser's events and not by `yaml.load`: its composer recurses in C and takes the
process down on deep nesting, and an alias of an alias of an alias has no bound there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import cast

import yaml

from lookaside.errors import ConfigError

MAX_DEPTH = 16
MAX_DIRECTIVES = 100
MAX_VALUES = 2_000_000
MAX_BYTES = 64 * 2**20

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DIRECTIVE = re.compile("(?:^|[\\r\\n\\x85\\u2028\\u2029])%")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a value; line and column count from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    def error(self, reason: str) -> ConfigError:
        """Return an error that names this place."""
        return ConfigError(f"{self}: {reason}")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it was written. YAML's own types are not applied: `text` is the text."""

    place: Place
    text: str
    plain: bool
    size: int = 1

    @property
    def is_null(self) -> bool:
        """Whether it is empty or a word for null."""
        return self.plain and self.text in _NULLS


@dataclass(slots=True)
class Items:
    """A YAML sequence."""

    place: Place
    values: list[Node] = field(default_factory=list)
    size: int = 1


@dataclass(slots=True)
class Table:
    """A YAML mapping whose keys are text, each there once, in the order of the file."""

    place: Place
    values: dict[str, Node] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    size: int = 1

    def refuse_unknown(self, known: Collection[str], noun: str = "key") -> None:
        """Check that every key is a known one.

        Raises:
            ConfigError: One is not; the text names it and the nearest known.
        """
        for key, place in self.places.items():
            if key not in known:
                raise place.error(f"unknown {noun} {key!r}; {nearest(key, known)}")


Node = Scalar | Items | Table


def nearest(word: str, known: Collection[str]) -> str:
    """Return a hint for a word that isn't known: the nearest known one, or all of them."""
    close = difflib.get_close_matches(word.replace("-", "_"), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"


def describe(node: Node) -> str:
    """Describe a node for an error."""
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Table):
        return "a mapping"
    return "nothing" if node.is_null else repr(node.text)


def load(path: Path, what: str) -> str:
    """Return the text of a file.

    Args:
        path: The file.
        what: What the file is, for errors.

    Raises:
        ConfigError: It can't be read, is larger than `MAX_BYTES`, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: can't read {what}: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: {what} is larger than {MAX_BYTES // 2**20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise Place(str(path), line, column).error("not UTF-8 text") from error


def read(text: str, path: str) -> Node | None:
    """Read one YAML document.

    Args:
        text: The whole document.
        path: The name of the file, for errors.

    Returns:
        The document's value; None if the text holds none.

    Raises:
        ConfigError: It is not YAML, or uses what is not supported: tags, several documents, a key
            twice, nesting deeper than `MAX_DEPTH`, aliases that expand to over `MAX_VALUES` values,
            more than `MAX_DIRECTIVES` directives.
    """
    _bound_directives(text, path)
    try:
        return _Builder(path).build(yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path, 1, 1) if mark is None else Place(path, mark.line + 1, mark.column + 1)
        problem = error.problem or error.context or "malformed"
        raise place.error(f"not valid YAML: {problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def _bound_directives(text: str, path: str) -> None:
    """Refuse many directives: the parser compares each with all before it, ahead of any event."""
    if _DIRECTIVE.search(text):
        found = (number for number, line in enumerate(text.splitlines(), 1) if line[:1] == "%")
        for number in islice(found, MAX_DIRECTIVES, None):
            raise Place(path, number, 1).error(f"more than {MAX_DIRECTIVES} directives")


class _Builder:
    """Builds the values of one document from the parser's events."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open: list[Items | Table] = []
        self._keys: list[Scalar | None] = []
        self._anchors: dict[str, Node | None] = {}
        self._anchor_names: list[str | None] = []
        self._root: Node | None = None
        self._documents = 0

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise self._place(event).error("a second document; one file holds one")
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.ScalarEvent):
                self._refuse_tag(event)
                scalar = Scalar(self._place(event), event.value, not event.style)
                self._name(event.anchor, scalar)
                self._add(scalar)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._start(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
        return self._root

    def _place(self, event: yaml.Event) -> Place:
        mark = cast("yaml.Mark", event.start_mark)
        return Place(self._path, mark.line + 1, mark.column + 1)

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag not in (None, "!"):
            raise self._place(event).error(f"the tag {event.tag!r}: tags are not supported")

    def _name(self, anchor: str | None, node: Node | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = self._place(event)
        if event.anchor not in self._anchors:
            raise place.error(f"the alias *{event.anchor} names no anchor above it")
        node = self._anchors[event.anchor]
        if node is None:
            raise place.error(f"the alias *{event.anchor} stands within what it names")
        self._add(node)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        self._refuse_tag(event)
        place = self._place(event)
        if len(self._open) >= MAX_DEPTH:
            raise place.error(f"nested deeper than {MAX_DEPTH} levels")
        kind = Table if isinstance(event, yaml.MappingStartEvent) else Items
        self._open.append(kind(place))
        self._keys.append(None)
        self._anchor_names.append(event.anchor)
        self._name(event.anchor, None)

    def _end(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        self._name(self._anchor_names.pop(), node)
        self._add(node)

    def _add(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.size += node.size
        if parent.size > MAX_VALUES:
            raise parent.place.error(f"its aliases expand to more than {MAX_VALUES:,} values")
        if isinstance(parent, Items):
            parent.values.append(node)
            return
        key = self._keys[-1]
        if key is not None:
            parent.values[key.text] = node
            parent.places[key.text] = key.place
            self._keys[-1] = None
        elif not isinstance(node, Scalar):
            raise node.place.error(f"{describe(node)} as a key; expected a word")
        elif node.text in parent.values:
            before = parent.places[node.text].line
            raise node.place.error(f"the key {node.text!r} is given here and in line {before}")
        else:
            self._keys[-1] = node
