"""Values of a kubeconfig by their keys, typed as kubectl types them. Pure.

No error shows a text: it may be a secret.
"""

import json
import re
from collections.abc import Sequence
from typing import TypeVar, cast

from lookaside.config import document
from lookaside.config.document import Items, Node, Scalar, Table

# As YAML 1.1 has it, which kubectl reads.
_TRUE = frozenset(
    form(word) for word in ("y", "yes", "true", "on") for form in (str, str.title, str.upper)
)
_FALSE = frozenset(
    form(word) for word in ("n", "no", "false", "off") for form in (str, str.title, str.upper)
)
_NUMBER = re.compile(
    r"[-+]?(\.\d[\d_]*|\d[\d_]*(\.[\d_]*)?)([eE][-+]?\d+)?|0x[\da-fA-F_]+|0b[01_]+|0o[0-7_]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)

_N = TypeVar("_N", Items, Table)


def text(table: Table, key: str) -> str:
    """Return a text; "" where there is none.

    Raises:
        ConfigError: It has another type.
    """
    if absent(table, key):
        return ""
    return _word(table.values[key], key)


def texts(table: Table, key: str) -> tuple[str, ...]:
    """Return a list of texts; none where there is no list.

    Raises:
        ConfigError: It has another type.
    """
    return tuple(_word(item, key) for item in items(table, key))


def flag(table: Table, key: str) -> bool:
    """Return a truth value; False where there is none.

    Raises:
        ConfigError: It has another type.
    """
    if absent(table, key):
        return False
    node = table.values[key]
    if isinstance(node, Scalar) and node.plain and node.text in _TRUE | _FALSE:
        return node.text in _TRUE
    raise node.place.error(f"{key} is {document.describe(node)}; expected true or false")


def items(table: Table, key: str) -> Sequence[Node]:
    """Return what is in a list; nothing where there is no list.

    Raises:
        ConfigError: It has another type.
    """
    found = child(table, key, Items)
    return found.values if found is not None else ()


def child(table: Table, key: str, kind: type[_N]) -> _N | None:
    """Return the list or the mapping at a key; None where there is none.

    Raises:
        ConfigError: It has another type.
    """
    if absent(table, key):
        return None
    node = table.values[key]
    if isinstance(node, kind):
        return node
    expected = {Items: "a list", Table: "a mapping"}[kind]
    raise node.place.error(f"{key} is {document.describe(node)}; expected {expected}")


def absent(table: Table, key: str) -> bool:
    """Whether the key is missing or null."""
    node = table.values.get(key)
    return node is None or (isinstance(node, Scalar) and node.is_null)


def json_value(node: Node | None) -> object:
    """Return the JSON value that YAML's node stands for."""
    if isinstance(node, Table):
        return {key: json_value(value) for key, value in node.values.items()}
    if isinstance(node, Items):
        return [json_value(value) for value in node.values]
    if node is None or node.is_null:
        return None
    if node.plain:
        try:
            return cast("object", json.loads(node.text))
        except ValueError:
            pass
    return node.text


def _word(node: Node, what: str) -> str:
    if not isinstance(node, Scalar):
        raise node.place.error(f"{what} is {document.describe(node)}; expected a text")
    if node.plain and (node.text in _TRUE | _FALSE or _NUMBER.fullmatch(node.text)):
        raise node.place.error(f"{what} is a number or a truth value; as a text it needs quotes")
    return "" if node.is_null else node.text
