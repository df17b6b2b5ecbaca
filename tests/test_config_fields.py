"""The service and the client go by one table of the fields of a service config.

Each field at each level is misspelt here, and each bound passed: the service refuses what the
client warns of, in the same words.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from client_resolver import ServiceConfigError
from client_resolver.config import config_fields as clients
from client_resolver.config.service_config import parse_service_config as read_by_client
from client_resolver.core.pickers import POLICIES
from lookaside.policy import config_fields as services
from lookaside.policy.balancing import POLICIES as ADVERTISED
from lookaside.policy.service_config import parse_service_config as check_by_service

ROOT = Path(__file__).parent.parent

RETRY = {
    "maxAttempts": 2,
    "initialBackoff": "1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
SOUND: Mapping[str, Mapping[str, object]] = {
    "retryPolicy": RETRY,
    "hedgingPolicy": {"maxAttempts": 2},
    "retryThrottling": {"maxTokens": 1, "tokenRatio": 1},
    "slowStart": {"window": "1s"},
    "localityPriorities": {"levels": ["zone"]},
    "random_subsetting": {"subsetSize": 1},
    "random_subsetting_experimental": {"subsetSize": 1},
}
"""What an object needs to be sound."""
WITHIN = {
    "methodConfig": ("", True),
    "name": ("methodConfig", True),
    "retryPolicy": ("methodConfig", False),
    "hedgingPolicy": ("methodConfig", False),
    "successRateEjection": ("outlierDetection", False),
    "failurePercentageEjection": ("outlierDetection", False),
}
"""In which object each is, if not in the service config itself, and whether it is in a list."""


def config_with(kind: str, extra: Mapping[str, object]) -> tuple[dict[str, object], str]:
    """Return a service config in which one object has these fields, and where that object is."""
    value: dict[str, object] = {**SOUND.get(kind, {}), **extra}
    where = ""
    while kind:
        outer, many = WITHIN.get(kind, ("", False))
        value = {kind: [value] if many else value}
        where = f"{kind}[0]{where}" if many else f"{kind}{where}"
        kind = outer
        where = f".{where}" if kind else where
        if kind:
            value = {**SOUND.get(kind, {}), **value}
    return value, where


def policy_with(name: str, extra: Mapping[str, object]) -> tuple[dict[str, object], str]:
    settings: dict[str, object] = {**SOUND.get(name, {}), **extra}
    if "childPolicy" in services.POLICIES[name] and "childPolicy" not in extra:
        settings["childPolicy"] = [{"round_robin": {}}]
    return {"loadBalancingConfig": [{name: settings}]}, f"loadBalancingConfig.{name}"


def misspellings(field: str) -> Iterator[str]:
    yield field[:-1]
    yield field + "s"
    yield field[0] + field[2] + field[1] + field[3:]
    yield "".join(f"_{c.lower()}" if c.isupper() else c for c in field) + "_"


def _levels() -> Iterator[tuple[str, str, bool]]:
    for kind, fields in services.OBJECTS.items():
        yield from ((kind, field, False) for field in fields)
    for name, fields in services.POLICIES.items():
        yield from ((name, field, True) for field in fields)


LEVELS = tuple(_levels())


@pytest.mark.parametrize(("kind", "field", "is_policy"), LEVELS)
def test_a_misspelt_field_is_refused_by_the_service_and_warned_of_by_the_client_alike(
    kind: str, field: str, is_policy: bool, caplog: pytest.LogCaptureFixture
) -> None:
    known = (services.POLICIES if is_policy else services.OBJECTS)[kind]
    for wrong in misspellings(field):
        if wrong in known:
            continue
        config, where = (policy_with if is_policy else config_with)(kind, {wrong: None})
        with pytest.raises(ValueError, match="is not known") as refused:
            check_by_service(json.dumps(config))
        path = f"{where}.{wrong}" if where else wrong
        assert str(refused.value).startswith(f"{path} is not known and has no effect: did you mean")
        # Of two that are alike, such as minRingSize and maxRingSize, either may be meant.
        (meant,) = [one for one in known if str(refused.value).endswith(f"did you mean {one}?")]
        if wrong == field[:-1] or wrong == field + "s":
            assert meant == field
        caplog.clear()
        with caplog.at_level(logging.WARNING, "client_resolver"):
            read_by_client(config)
        assert caplog.messages == [f"service config: {refused.value}"]


def test_a_field_that_is_like_none_is_named_without_a_guess() -> None:
    with pytest.raises(ValueError, match=r"^circuitBreaker\.qqqq is not known and has no effect$"):
        check_by_service('{"circuitBreaker": {"qqqq": 1}}')


def test_many_strange_fields_are_told_of_in_few_words(caplog: pytest.LogCaptureFixture) -> None:
    config: dict[str, object] = {f"{'x' * 10_000}{number}": 1 for number in range(1000)}
    with caplog.at_level(logging.WARNING, "client_resolver"):
        read_by_client(config)
    assert len(caplog.messages) == 20
    assert max(map(len, caplog.messages)) < 200


def test_the_policy_of_a_channel_is_looked_at_as_well(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "client_resolver"):
        read_by_client(None, {"maglev": {"tablesize": 5}})
    (text,) = caplog.messages
    assert (
        text == "policy: maglev.tablesize is not known and has no effect: did you mean tableSize?"
    )


def test_a_policy_of_the_users_own_may_have_any_field(caplog: pytest.LogCaptureFixture) -> None:
    config = {"loadBalancingConfig": [{"round_robin": {"mine": 1}}]}
    with caplog.at_level(logging.WARNING, "client_resolver"):
        read_by_client(config, policies={"round_robin": POLICIES["random"]})
    assert caplog.messages == []


@pytest.mark.parametrize(("kind", "field", "is_policy"), LEVELS)
def test_a_value_that_could_do_harm_is_refused_on_both_sides_by_its_name(
    kind: str, field: str, is_policy: bool
) -> None:
    about = (services.POLICIES if is_policy else services.OBJECTS)[kind][field]
    if about.low is None and about.high is None:
        return
    beyond: list[object] = [about.high * 2] if about.high is not None else []
    if about.low:
        beyond.append(about.low / 2)
    for number in beyond:
        for value in (number, f"{number:.9f}s"):
            config, where = (policy_with if is_policy else config_with)(kind, {field: value})
            with pytest.raises(ServiceConfigError, match=field) as refused:
                read_by_client(config)
            assert where.rpartition(".")[2].partition("[")[0] in str(refused.value)
            with pytest.raises(ValueError, match=rf"{field}|{kind}"):
                check_by_service(json.dumps(config))


def checked(config: Mapping[str, object]) -> None:
    check_by_service(json.dumps(config))


VALUES: tuple[object, ...] = (
    *(True, False, None, "", "many", "5", "5.5", "1e2", "5s", "0.5s", "0s", "-1s", "5 s", "x-bin"),
    *(-1, 0, 1, 2, 5, 5.0, 5.5, 50, 97, 101, 4096, 5000, 10**12),
    *([], ["UNAVAILABLE"], ["unavailable"], [14], [17], [True], ["x"], [{}], [{"round_robin": {}}]),
    *({}, {"a": 1}),
)
"""One of each form that a value may have, and what is near it."""


@pytest.mark.parametrize(
    ("policy", "field"), [(name, field) for name, field, is_policy in LEVELS if is_policy]
)
def test_the_service_lets_no_value_of_a_policy_through_that_its_clients_refuse(
    policy: str, field: str
) -> None:
    cut = (f"{policy}.{field} is 5000", "not known")
    for value in VALUES:
        config, where = policy_with(policy, {field: value})
        refused = ["", ""]
        sides: tuple[Callable[[Mapping[str, object]], object], ...] = (read_by_client, checked)
        for side, read in enumerate(sides):
            try:
                read(config)
            except ValueError as error:
                refused[side] = str(error)
        by_client, by_service = refused
        if by_service and not by_client:
            # A client cuts a table to its size, and warns of a field that it doesn't know.
            assert any(text in by_service for text in cut), (value, by_service)
        else:
            assert bool(by_client) == bool(by_service), (value, by_client, by_service)
        if by_service:
            assert by_service.startswith(where), by_service


def test_a_value_of_a_wrong_form_is_named_with_the_form_that_is_wanted() -> None:
    config = {"loadBalancingConfig": [{"least_request": {"choiceCount": "many"}}]}
    text = "loadBalancingConfig.least_request.choiceCount is 'many': a whole number is wanted"
    for read in (read_by_client, checked):
        with pytest.raises(ValueError, match=text):
            read(config)


def test_a_policy_that_no_client_takes_is_of_the_right_form_as_well() -> None:
    """The first that a client knows is taken; another kind of client may know another."""
    second = {"least_request": {"choiceCount": "many"}}
    config = {"loadBalancingConfig": [{"round_robin": {}}, second]}
    for read in (read_by_client, checked):
        with pytest.raises(ValueError, match="choiceCount is 'many': a whole number is wanted"):
            read(config)


@pytest.mark.parametrize(("kind", "field", "is_policy"), LEVELS)
@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), 1e308, 10**400, "1e308", "9" * 400 + "s"]
)
def test_no_number_gets_past_the_client_that_is_none(
    kind: str, field: str, is_policy: bool, value: object
) -> None:
    """Whatever is said for whatever field: the config is read, or refused with a sentence."""
    config, _ = (policy_with if is_policy else config_with)(kind, {field: value})
    with suppress(ServiceConfigError):
        read_by_client(config)


def test_policies_are_wrapped_around_one_another_a_few_times_and_no_more() -> None:
    def wrapped(times: int) -> dict[str, object]:
        policy: dict[str, object] = {"round_robin": {}}
        for _ in range(times):
            policy = {"outlier_detection": {"childPolicy": [policy]}}
        return {"loadBalancingConfig": [policy]}

    read_by_client(wrapped(8))
    check_by_service(json.dumps(wrapped(8)))
    for times in (9, 50, 200):
        with pytest.raises(ServiceConfigError, match="wrapped around one another"):
            read_by_client(wrapped(times))
        with pytest.raises(ValueError, match="wrapped around one another"):
            check_by_service(json.dumps(wrapped(times)))


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        ("ring_hash", {"minRingSize": 8_388_608, "maxRingSize": 8_388_608}),
        ("maglev", {"tableSize": 5_000_011}),
    ],
)
def test_the_size_of_a_table_is_cut_by_the_client_and_refused_by_the_service(
    policy: str, settings: Mapping[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    config = {"loadBalancingConfig": [{policy: settings}]}
    with caplog.at_level(logging.WARNING, "client_resolver"):
        read = read_by_client(config).policy
    sizes = [getattr(read, name, 0) for name in ("min_ring_size", "max_ring_size", "table_size")]
    assert 4000 < max(sizes) <= 4096
    assert f"{policy}.{next(iter(settings))} is" in caplog.messages[0]
    assert "max_table_size, 4096" in caplog.messages[0]
    with pytest.raises(ValueError, match=f"{policy}.*clients build no table of more than 4096"):
        check_by_service(json.dumps(config))
    raised = read_by_client(config, max_table_size=8_388_608).policy
    assert (
        settings.items()
        >= {
            "minRingSize": getattr(raised, "min_ring_size", None),
            "maxRingSize": getattr(raised, "max_ring_size", None),
        }.items()
        or getattr(raised, "table_size", 0) == 5_000_011
    )


def test_both_sides_have_the_same_table_and_it_has_every_policy() -> None:
    source = (ROOT / "protos/service_config/config_fields.py").read_text()
    for module in (clients, services):
        assert module.__file__ is not None
        assert Path(module.__file__).read_text() == source
    wrappers = {name for name, fields in services.POLICIES.items() if "childPolicy" in fields}
    experimental = {name for name in services.POLICIES if name.endswith("_experimental")}
    assert services.POLICIES.keys() - wrappers - experimental == POLICIES.keys() == ADVERTISED
