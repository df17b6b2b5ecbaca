"""Code and configuration on the pages can be read, and what they name is there."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import grpc
import pytest
import yaml

from client_resolver.config.keywords import Keywords
from lookaside.api.xds import kinds
from lookaside.cli import main
from lookaside.config import OTHER_VARIABLES, PREFIX, SETTINGS
from lookaside.policy.service_config import SERVICE_CONFIG, parse_service_config
from lookaside.policy.weights import WEIGHT, WEIGHTS, parse_rules
from tests.chart.exported import exported
from tests.chart.values import defaults, errors
from tests.docs.fences import PAGES, Fence, commands_of, fences

_ANNOTATIONS: Final = frozenset({WEIGHTS, SERVICE_CONFIG, WEIGHT})
_OF_XDS_NODES: Final = frozenset({kinds.LISTENERS, kinds.NODE, kinds.SERVICES, kinds.ZONE})
_BY_KUBERNETES: Final = frozenset({f"{PREFIX}SERVICE_HOST"})
_WORDS: Final = [
    (page, word) for page in PAGES for word in re.findall(r"`([^`\n]+)`", page.read_text())
]
_FLAGS_OF_OTHERS: Final = frozenset(
    {"--linger", "--max-connection-age", "--pause", "--requests", "--rounds", "--set", "--timeout"}
)
_POLICY_IN_GO: Final = "lookaside_weighted"


def _all(language: str) -> list[Fence]:
    """Return the blocks of a language that are on the pages themselves, not in a snippet."""
    found = [fence for page in PAGES for fence in fences(page) if fence.language == language]
    return [fence for fence in found if "--8<--" not in fence.text]


@pytest.mark.parametrize("fence", _all("python"), ids=str)
def test_python_compiles(fence: Fence) -> None:
    compile(fence.text, str(fence), "exec")


_MIGRATION: Final = [fence for fence in _all("python") if fence.page.stem == "migration"]


@pytest.mark.parametrize("fence", _MIGRATION, ids=str)
def test_python_of_the_migration_makes_a_channel(fence: Fence) -> None:
    names: dict[str, Any] = {}
    exec(compile(fence.text, str(fence), "exec"), names)
    with names["channel"] as channel:
        assert isinstance(channel, grpc.Channel)


@pytest.mark.parametrize("fence", _all("python"), ids=str)
def test_python_names_keywords_that_channels_take(fence: Fence) -> None:
    known = {*Keywords.__annotations__, "options", "compression", "timeout", "name"}
    assert set(re.findall(r"^ +(\w+)=", fence.text, re.MULTILINE)) <= known


@pytest.mark.parametrize("fence", _all("yaml"), ids=str)
def test_yaml_can_be_read_as_what_it_is(fence: Fence) -> None:
    given = yaml.safe_load(fence.text)
    if "metadata" in given:
        for name, text in given["metadata"]["annotations"].items():
            _read_annotation(name, text)
    elif given.keys() <= defaults().keys():
        assert errors(given) == []
    else:
        keys = {setting.key for setting in SETTINGS}
        # A file of settings, the list of weights' rules, or the file of services.
        assert given.keys() <= keys | {"services"}


@pytest.mark.parametrize("fence", _all("json"), ids=str)
def test_json_can_be_read(fence: Fence) -> None:
    json.loads(fence.text)


def test_annotations_that_are_typed_are_taken() -> None:
    typed = list(_typed_annotations())
    assert {name for name, _ in typed} == {WEIGHTS, SERVICE_CONFIG}
    for name, text in typed:
        _read_annotation(name, text)


def test_annotations_that_are_named_are_there() -> None:
    for page in PAGES:
        assert (
            set(re.findall(r"\blookaside\.dev/[\w-]+(?![\w/-])", page.read_text()))
            <= _ANNOTATIONS | _OF_XDS_NODES
        ), page


@pytest.mark.parametrize("word", sorted({word for _, word in _WORDS if re.match(r"--[a-z]", word)}))
def test_flags_that_are_named_are_there(word: str) -> None:
    flags = {
        flag
        for command in main.commands.values()
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    assert set(re.findall(r"(?<!\S)--[a-z-]+", word)) <= flags | _FLAGS_OF_OTHERS


def test_variables_that_are_named_are_there() -> None:
    known = {setting.variable for setting in SETTINGS} | OTHER_VARIABLES | _BY_KUBERNETES
    for page in PAGES:
        named = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", page.read_text()))
        assert named <= known, page


def test_metrics_that_are_named_are_exported() -> None:
    samples = set(exported())
    histograms = {name.removesuffix("_bucket") for name in samples if name.endswith("_bucket")}
    known = samples | histograms | {_POLICY_IN_GO}
    for page in PAGES:
        named = set(re.findall(r"`((?:lookaside|grpc_client)_[a-z_]+)`", page.read_text()))
        assert named <= known, page


def test_values_of_the_chart_that_are_named_are_there() -> None:
    values = defaults()
    for page, word in _WORDS:
        parts = word.split(".")
        if len(parts) > 1 and parts[0] in values and re.fullmatch(r"[a-zA-Z.]+(?<!\.py)", word):
            given: Any = values
            for part in parts:
                assert part in given, f"{page}: {word}"
                given = given[part]


def _read_annotation(name: str, text: str) -> None:
    assert name in _ANNOTATIONS
    if name == SERVICE_CONFIG:
        parse_service_config(text)
    elif name == WEIGHTS:
        parse_rules(text)


def _typed_annotations() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for command in commands_of(page):
            for word in command.words:
                name, equals, text = word.partition("=")
                if equals and name.startswith("lookaside.dev/"):
                    yield name, text
