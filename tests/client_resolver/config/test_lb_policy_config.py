from collections.abc import Mapping
from typing import Any

import pytest

from client_resolver.config.lb_policy_config import Balancing, PolicyLike, choose_policy
from client_resolver.core.outlier import OutlierDetection
from client_resolver.core.picker import Policy
from client_resolver.core.pickers import POLICIES

ROUND_ROBIN: dict[str, object] = {"round_robin": {}}


def choose(
    config: Mapping[str, object],
    policy: PolicyLike | None = None,
    name: str | None = None,
    **policies: Any,
) -> Balancing:
    return choose_policy(config, policy, name, policies)


@pytest.mark.parametrize(
    ("config", "policy", "name", "chosen"),
    [
        ({}, None, None, "weighted_round_robin"),
        ({}, None, "round_robin", "round_robin"),
        ({}, "round_robin", "weighted_round_robin", "round_robin"),
        ({}, ROUND_ROBIN, None, "round_robin"),
        ({"loadBalancingPolicy": ""}, None, "round_robin", "round_robin"),
        ({"loadBalancingPolicy": "round_robin"}, None, None, "round_robin"),
        ({"loadBalancingPolicy": "ROUND_ROBIN"}, None, None, "round_robin"),
        ({"loadBalancingPolicy": "round_robin"}, None, "weighted_round_robin", "round_robin"),
        ({"loadBalancingConfig": [ROUND_ROBIN]}, None, "weighted_round_robin", "round_robin"),
        (
            {"loadBalancingConfig": [ROUND_ROBIN]},
            "weighted_round_robin",
            None,
            "weighted_round_robin",
        ),
        ({"loadBalancingConfig": [{"no_such": {}}]}, "round_robin", None, "round_robin"),
        (
            {"loadBalancingConfig": [{"rls": {}}, {"round_robin": None}, {"other": {}}]},
            None,
            None,
            "round_robin",
        ),
        (
            {"loadBalancingConfig": [ROUND_ROBIN], "loadBalancingPolicy": "other"},
            None,
            None,
            "round_robin",
        ),
    ],
)
def test_the_policy_that_holds_is_found(
    config: Any, policy: PolicyLike | None, name: str | None, chosen: str
) -> None:
    assert choose(config, policy, name).policy.name == chosen


def test_every_policy_of_the_package_is_found_by_its_name() -> None:
    for name in POLICIES:
        assert choose({}, name).policy.name == name


def test_a_users_own_policy_gets_its_settings_and_goes_before_one_of_the_package() -> None:
    given: list[object] = []

    def factory(settings: Mapping[str, object]) -> Policy:
        given.append(settings)
        return POLICIES["weighted_round_robin"]({})

    config = {"loadBalancingConfig": [{"nearest": {"hops": 2}}]}
    assert choose(config, nearest=factory).policy.name == "weighted_round_robin"
    assert choose({}, "round_robin", round_robin=factory).policy.name == "weighted_round_robin"
    assert given == [{"hops": 2}, {}]


OUTLIER = {"interval": "3s", "childPolicy": [{"no_such": {}}, ROUND_ROBIN]}


@pytest.mark.parametrize("suffix", ["", "_experimental"])
def test_wrappers_are_taken_off_and_kept(suffix: str) -> None:
    config = {
        "loadBalancingConfig": [
            {
                f"random_subsetting{suffix}": {
                    "subsetSize": 7,
                    "childPolicy": [{f"outlier_detection{suffix}": OUTLIER}],
                }
            }
        ]
    }
    chosen = choose(config)
    assert chosen.policy.name == "round_robin"
    assert (chosen.outlier, chosen.subset_size) == (OutlierDetection(interval=3.0), 7)


def test_wrappers_hold_around_the_policy_that_the_channel_names() -> None:
    config = {"loadBalancingConfig": [{"outlier_detection": OUTLIER}]}
    chosen = choose(config, "pick_first")
    assert chosen.policy.name == "pick_first"
    assert chosen.outlier == OutlierDetection(interval=3.0)


def broken(settings: Mapping[str, object]) -> Policy:
    raise KeyError("hops")


def refusing(settings: Mapping[str, object]) -> Policy:
    raise ValueError(f"hops is {settings['hops']}: at least 1 is allowed")


@pytest.mark.parametrize(
    ("config", "policy", "why"),
    [
        ({"loadBalancingConfig": {}}, None, "loadBalancingConfig is {}: a list is wanted"),
        ({"loadBalancingConfig": ["round_robin"]}, None, "loadBalancingConfig has 'round_robin':"),
        ({"loadBalancingConfig": [{}]}, None, "loadBalancingConfig has {}: an object with one"),
        (
            {"loadBalancingConfig": [{"x": 1}]},
            None,
            "loadBalancingConfig.x is 1: an object is wanted",
        ),
        (
            {"loadBalancingConfig": []},
            None,
            "loadBalancingConfig names none.",
        ),
        (
            {"loadBalancingConfig": [{"x": {}}, {"y": {}}]},
            None,
            "loadBalancingConfig names 'x', 'y': no such policy is known. Known: broken, least_",
        ),
        ({"loadBalancingPolicy": 1}, None, "loadBalancingPolicy is 1: a string is wanted"),
        (
            {"loadBalancingPolicy": "rls"},
            None,
            "loadBalancingPolicy names 'rls': no such policy is known",
        ),
        ({}, "rls", "policy names 'rls': no such policy is known"),
        ({}, {"a": {}, "b": {}}, "policy has {'a': {}, 'b': {}}: an object with one policy's name"),
        ({}, {"refusing": {"hops": 0}}, "policy.refusing.hops is 0: at least 1 is allowed"),
        ({}, "broken", "policy.broken.KeyError: 'hops'"),
        (
            {"loadBalancingConfig": [{"outlier_detection": {}}]},
            None,
            "loadBalancingConfig.outlier_detection.childPolicy names none",
        ),
        (
            {"loadBalancingConfig": [{"outlier_detection": {**OUTLIER, "interval": 1}}]},
            None,
            "loadBalancingConfig.outlier_detection.interval is 1: a duration",
        ),
        (
            {"loadBalancingConfig": [{"random_subsetting": {"childPolicy": [ROUND_ROBIN]}}]},
            None,
            "loadBalancingConfig.random_subsetting.subsetSize is missing",
        ),
        (
            {
                "loadBalancingConfig": [
                    {"random_subsetting": {"subsetSize": 0, "childPolicy": [ROUND_ROBIN]}}
                ]
            },
            None,
            "loadBalancingConfig.random_subsetting.subsetSize is 0: at least 1",
        ),
    ],
)
def test_what_cant_be_used_is_named(config: Any, policy: PolicyLike | None, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        choose(config, policy, broken=broken, refusing=refusing)
    assert str(caught.value).startswith(why)


def test_an_unknown_name_of_the_channel_argument_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^grpc\.lb_policy_name names 'rls': no such policy is known"
    ):
        choose({}, None, "rls")


@pytest.mark.parametrize("made", [5, None, object()])
def test_what_a_users_factory_makes_must_be_a_policy(made: object) -> None:
    with pytest.raises(ValueError, match=r"policy\.own: its factory made .*, which is no policy"):
        choose({}, "own", own=lambda _: made)
