"""Weights and the annotations that set them.

An endpoint's weight is, in this order: its Pod's annotation ``lookaside.dev/weight``; the first
rule of its Service's annotation ``lookaside.dev/weights`` that matches it; its EndpointSlice's
annotation ``lookaside.dev/weight``; 100. The nearer to the endpoint, the stronger.
"""

import re
from collections.abc import Mapping

import msgspec
import yaml
from msgspec import Struct

from lookaside.model import MAX_WEIGHT, Locality

WEIGHT = "lookaside.dev/weight"
WEIGHTS = "lookaside.dev/weights"

_MAX_RULES = 100
_MAX_BYTES = 16 * 1024
_MAX_DEPTH = 3

_LONGEST_QUOTE = 100

_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Parser):  # type: ignore[misc, valid-type]
    """Takes plain words for values as YAML 1.2 does.

    To YAML 1.1 `1:2:3` is a number of base 60 and `010` one of base 8, `no` is false, and a date is
    a date: none of them is meant.
    """

    yaml_implicit_resolvers: dict[str, list[object]] = {}  # noqa: RUF012 (PyYAML's own form)


for _kind, _form, _first in (
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)", "-+.0123456789"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_form})$"), list(_first)
    )


class WeightRule(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The weight of the endpoints that match; each condition that is given must hold.

    Attributes:
        weight: 0 to `MAX_WEIGHT`; 0 is no new requests.
        labels: Labels that the Pod must have.
        zone: The zone that the endpoint must run in.
        node: The node that it must run on.
    """

    weight: int
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    zone: str = ""
    node: str = ""

    def matches(self, locality: Locality, labels: Mapping[str, str]) -> bool:
        """Whether an endpoint has this weight."""
        return (
            self.zone in ("", locality.zone)
            and self.node in ("", locality.node)
            and all(labels.get(name) == value for name, value in self.labels.items())
        )

    def __str__(self) -> str:
        conditions = [f"{name}={value}" for name, value in sorted(self.labels.items())]
        conditions += [f"zone {self.zone}"] if self.zone else []
        conditions += [f"node {self.node}"] if self.node else []
        return ", ".join(conditions) or "every endpoint"


def parse_weight(text: str) -> int:
    """Read the annotation ``lookaside.dev/weight``.

    Raises:
        ValueError: It is not a whole number from 0 to `MAX_WEIGHT`.
    """
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdecimal() and int(stripped) <= MAX_WEIGHT):
        quoted = text[:_LONGEST_QUOTE]
        raise ValueError(f"{quoted!r} is not a whole number from 0 to {MAX_WEIGHT}")
    return int(stripped)


def parse_rules(text: str) -> tuple[WeightRule, ...]:
    """Read the annotation ``lookaside.dev/weights``: a list of rules, in YAML or JSON.

    For a canary at a tenth of the others' share::

        - {labels: {version: v2}, weight: 10}
        - {zone: eu-1a, weight: 50}

    Raises:
        ValueError: It is not such a list; the text says where and why.
    """
    if len(text.encode()) > _MAX_BYTES:
        raise ValueError(f"longer than {_MAX_BYTES} bytes")
    try:
        _check_form(text)
        rules = msgspec.convert(_values(text), tuple[WeightRule, ...])
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    if len(rules) > _MAX_RULES:
        raise ValueError(f"{len(rules)} rules; at most {_MAX_RULES} are allowed")
    for index, rule in enumerate(rules):
        if not 0 <= rule.weight <= MAX_WEIGHT:
            raise ValueError(f"weight {rule.weight} of rule {index + 1} is not 0 to {MAX_WEIGHT}")
    return rules


def _values(text: str) -> object:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_repeated_keys(node)
        values: object = loader.construct_document(node)
    finally:
        loader.dispose()
    return values


def _refuse_repeated_keys(node: yaml.Node) -> None:
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(  # noqa: TRY004 (of an annotation any error is one of its value)
                    f"a list or mapping stands as a key in line {line}"
                )
            if key.value in seen:
                raise ValueError(f"the key {key.value!r} stands a second time in line {line}")
            seen.add(key.value)
            _refuse_repeated_keys(value)


def _check_form(text: str) -> None:
    # PyYAML composes by recursion in C, with no bound to its depth, and its constructors of tagged
    # values raise whatever comes. Its parser does neither.
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError("anchors and aliases are not allowed")
        if getattr(event, "tag", None):
            raise ValueError("tags are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
