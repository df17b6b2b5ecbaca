import json

import pytest

from client_resolver.config.service_config import parse_service_config
from client_resolver.core.pickers import POLICIES as OF_CLIENTS
from client_resolver.errors import ServiceConfigError
from lookaside.policy.balancing import POLICIES, strange_policies

CHILD = {"childPolicy": [{"round_robin": {}}], "subsetSize": 3}


def test_the_policies_are_those_of_the_companion_package() -> None:
    assert set(OF_CLIENTS) == POLICIES


@pytest.mark.parametrize(
    ("config", "strange"),
    [
        ({}, []),
        ({"loadBalancingPolicy": ""}, []),
        *(({"loadBalancingPolicy": name}, []) for name in POLICIES),
        ({"loadBalancingPolicy": "ROUND_ROBIN"}, []),
        ({"loadBalancingPolicy": "grpclb"}, ["grpclb"]),
        ({"loadBalancingConfig": [{"rls": {}}, {"own": {}}]}, ["rls", "own"]),
        ({"loadBalancingConfig": [{"rls": {}}, {"ring_hash_experimental": {}}]}, []),
        ({"loadBalancingConfig": [{"least_request_experimental": {}}]}, []),
        ({"loadBalancingConfig": [{"outlier_detection": CHILD}]}, []),
        ({"loadBalancingConfig": [{"outlier_detection_experimental": CHILD}]}, []),
        ({"loadBalancingConfig": [{"random_subsetting": CHILD}]}, []),
        ({"loadBalancingConfig": [{"random_subsetting_experimental": CHILD}]}, []),
        ({"loadBalancingConfig": [{"rls": {}}], "loadBalancingPolicy": "random"}, ["rls"]),
    ],
)
def test_policies_are_strange_where_a_client_refuses_the_config_for_them(
    config: dict[str, object], strange: list[str]
) -> None:
    assert strange_policies(json.dumps(config)) == strange
    if strange:
        with pytest.raises(ServiceConfigError, match="no such policy is known"):
            parse_service_config(config)
    else:
        parse_service_config(config)
