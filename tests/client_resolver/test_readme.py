"""The README's tables and configs say what the code says."""

import json
import logging
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import client_resolver
from client_resolver import testing
from client_resolver.config.config_fields import OBJECTS
from client_resolver.config.keywords import Keywords
from client_resolver.config.service_config import parse_service_config
from client_resolver.config.settings import Settings
from client_resolver.core.pickers import POLICIES
from client_resolver.core.slow_start import SlowStart
from client_resolver.metrics import KEPT, Prometheus

TEXT = (Path(client_resolver.__file__).parents[1] / "README.md").read_text()
CONFIGS = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)

TIMES = [name for name, kind in Keywords.__annotations__.items() if "float" in str(kind)]


def rows(heading: str) -> dict[str, list[str]]:
    """The first table under a heading: the other cells, by the name in the first."""
    section = TEXT.partition(f"{heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    cells = [re.split(r" \| ?", line.strip("|\n ")) for line in table.group().splitlines()[2:]]
    found = {name.split("`")[1]: rest for name, *rest in cells}
    assert len(found) == len(cells)
    return found


def test_every_keyword_is_in_the_table_and_no_other() -> None:
    assert list(rows("## Settings")) == list(Keywords.__annotations__)


@pytest.mark.parametrize(
    "name",
    [
        "connections_per_backend",
        "watch_backoff",
        "older_revision_hold",
        "refresh_interval",
        "idle_timeout",
        "drain_timeout",
        "subset_size",
        "max_table_size",
        "dial",
        "fallback",
        "snapshot_path",
        "balancer_credentials",
        "balancer_token",
        "hash_key",
    ],
)
def test_a_default_is_the_one_that_holds(name: str) -> None:
    default = getattr(Settings.of("static:///a:1", None, None, None, {}), name)
    told = rows("## Settings")[name][0]
    if default is None:
        assert told.startswith(("none", "the policy's"))
    else:
        assert f"`{default!r}`" in told


@pytest.mark.parametrize("name", TIMES)
def test_a_time_has_its_unit(name: str) -> None:
    assert re.search(r"\bs\b", " ".join(rows("## Settings")[name]))


def test_the_channel_arguments_that_are_set_are_told() -> None:
    options = Settings.of("static:///a:1", None, None, None, {}).options
    for name, value in options:
        assert f"`{name}={value}`" in TEXT.replace("`,\n`", "`, `")


def test_every_field_of_a_service_config_is_in_the_table_and_no_other() -> None:
    assert rows("## Service config").keys() == OBJECTS[""].keys()


def test_every_policy_is_in_the_table_and_no_other() -> None:
    assert rows("## Policies").keys() == POLICIES.keys()


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_policy_takes_the_fields_with_the_defaults_that_the_table_gives(name: str) -> None:
    config = " ".join(rows("## Policies")[name][1:])
    given: dict[str, object] = {}
    for field, default in re.findall(r"`(\w+)`(?: \(([\w.]+))?", config):
        if field not in {"requestHashHeader", "endpointHashKey", "max_table_size"}:
            given[field] = json.loads(default) if not default.endswith("s") else default
    assert POLICIES[name](given) == POLICIES[name]({})
    for field in given:
        with pytest.raises(ValueError, match=field):
            POLICIES[name]({"backendMetrics": True, **given, field: "nonsense"})


def test_the_defaults_of_slow_start_are_those_in_the_text() -> None:
    (row,) = rows("## Service config")["slowStart"]
    default = SlowStart(1.0)
    assert f"`aggression` ({default.aggression:g})" in row
    assert f"`minWeightPercent` ({default.min_weight_percent:g})" in row


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_in_the_text_is_understood_without_a_warning(
    config: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "client_resolver"):
        assert parse_service_config(config) != parse_service_config(None)
    assert not caplog.records


def test_every_metric_is_in_the_table_with_its_labels_and_no_other() -> None:
    told = {
        name: re.findall(r"`(\w+)`", labels) for name, (labels, _) in rows("### Metrics").items()
    }
    metrics = Prometheus(CollectorRegistry()).describe()
    told_by_code = {
        metric.name + ("_total" if metric.type == "counter" else ""): list(metric._labelnames)  # type: ignore[attr-defined]
        for metric in metrics
    }
    assert told == told_by_code


def test_series_stay_as_long_as_the_text_says() -> None:
    assert f"stay for {KEPT / 60:g} minutes" in TEXT


def test_what_the_tables_of_the_testing_module_name_is_there() -> None:
    cells = TEXT.partition("| of a backend |")[2].partition("\n\n")
    for name in re.findall(r"`(\w+)(?:\(.*?\))?`", cells[0]):
        assert hasattr(testing.Backend, name), name
    balancer = re.search(r"A `Balancer` has (.*?)\. Without", cells[2], re.DOTALL)
    assert balancer is not None
    with testing.Balancer() as one:
        for name in re.findall(r"`(\w+)(?:\(.*?\))?`", balancer.group(1), re.DOTALL):
            assert hasattr(one, name), name


def test_every_public_name_of_the_testing_module_has_a_docstring() -> None:
    for name in testing.__all__:
        assert getattr(testing, name).__doc__
