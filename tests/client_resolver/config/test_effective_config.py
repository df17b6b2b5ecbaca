import logging
from collections.abc import Mapping

import pytest

from client_resolver import Policy
from client_resolver.config.effective_config import EffectiveConfig
from client_resolver.config.service_config import ServiceConfig
from client_resolver.config.settings import Settings


class Told:
    def __init__(self) -> None:
        self.configs: list[ServiceConfig] = []

    def configure(self, config: ServiceConfig) -> None:
        self.configs.append(config)


def central(service_config: str | None = None) -> EffectiveConfig:
    given = {} if service_config is None else {"service_config": service_config}
    return EffectiveConfig(Settings.of("static:///10.0.0.1:1", None, None, None, given))  # type: ignore[arg-type]


def named(policy: str) -> str:
    return f'{{"loadBalancingConfig": [{{"{policy}": {{}}}}]}}'


def test_what_the_balancer_sends_holds_and_is_told() -> None:
    subject, told = central(), Told()
    subject.add(told)
    assert subject.adopt(named("round_robin")).policy.name == "round_robin"
    assert [config.policy.name for config in told.configs] == [
        "weighted_round_robin",
        "round_robin",
    ]
    subject.adopt(named("round_robin"))
    assert len(told.configs) == 2, "nothing is new"


def test_without_one_from_the_balancer_the_default_is_back() -> None:
    subject = central()
    subject.adopt(named("round_robin"))
    assert subject.adopt("").policy.name == "weighted_round_robin"


def test_a_channels_own_config_always_wins() -> None:
    subject = central(named("pick_first"))
    assert subject.adopt(named("round_robin")).policy.name == "pick_first"


def test_one_that_cannot_be_read_is_refused_and_the_last_good_one_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    subject = central()
    subject.adopt(named("round_robin"))
    with caplog.at_level(logging.WARNING, "client_resolver"):
        assert subject.adopt(named("nonsense")).policy.name == "round_robin"
    assert "the balancer's service config is refused" in caplog.text
    assert "nonsense" in caplog.text


def test_whoever_is_gone_is_no_longer_told() -> None:
    subject, told = central(), Told()
    configs = told.configs
    subject.add(told)
    del told
    subject.adopt(named("round_robin"))
    assert len(configs) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"loadBalancingConfig": [{"mine": {}}]}', "KeyError: 'wanted'"),
    ],
)
def test_whatever_is_raised_over_one_it_is_refused(
    text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    def mine(config: Mapping[str, object]) -> Policy:
        raise KeyError("wanted")

    keywords = {"policies": {"mine": mine}}
    subject = EffectiveConfig(Settings.of("static:///10.0.0.1:1", None, None, None, keywords))  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "client_resolver"):
        assert subject.adopt(text).policy.name == "weighted_round_robin"
    assert why in caplog.text
