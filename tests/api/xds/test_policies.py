"""What each part of a service config becomes, for every kind of client."""

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from lookaside._pb.xds.route_pb2 import RouteConfiguration
from lookaside.api.xds.kinds import ClientKind
from lookaside.api.xds.policies import Config
from lookaside.api.xds.resource import Type
from tests.api.xds.snapshots import fleet, snapshot
from tests.api.xds.test_resources import GRPC, cluster, endpoints, translate

EVEN, UNEVEN = (100, 100), (100, 300)
ENVOYS = {"round_robin": 0, "least_request": 1, "ring_hash": 2, "random": 3, "maglev": 5}


def fields(message: Message | None) -> dict[str, object]:
    assert message is not None
    return MessageToDict(message)


def ladder(config: object, weights: tuple[int, ...], kind: ClientKind) -> list[str]:
    """Return the names of the policies, those inside of localities in their place."""
    made = cluster(translate(snapshot(*fleet(*weights), config=config), kind))
    found = []
    for one in MessageToDict(made).get("loadBalancingPolicy", {}).get("policies", []):
        typed = one["typedExtensionConfig"]
        inside = typed["typedConfig"].get("endpointPickingPolicy", {}).get("policies", [])
        found += [each["typedExtensionConfig"]["name"] for each in inside] or [typed["name"]]
    return [name.rpartition(".")[2] for name in found]


@pytest.mark.parametrize("kind", GRPC)
@pytest.mark.parametrize(
    ("policy", "weights", "expected", "apart"),
    [
        ({"round_robin": {}}, UNEVEN, ["round_robin"], True),
        ({"unheard_of": {}}, UNEVEN, ["round_robin"], True),
        ({"random": {}}, UNEVEN, ["round_robin"], True),
        ({"peak_ewma": {}}, UNEVEN, ["round_robin"], True),
        ({"weighted_round_robin": {}}, UNEVEN, ["round_robin"], True),
        ({"least_request": {}}, EVEN, ["least_request", "round_robin"], False),
        ({"least_request": {}}, UNEVEN, ["round_robin"], True),
        ({"pick_first": {}}, UNEVEN, ["pick_first", "round_robin"], False),
        ({"ring_hash": {}}, UNEVEN, ["ring_hash"], False),
        ({"maglev": {}}, UNEVEN, ["ring_hash"], False),
        (
            {"weighted_round_robin": {"backendMetrics": True}},
            UNEVEN,
            ["client_side_weighted_round_robin", "round_robin"],
            False,
        ),
    ],
)
def test_a_policy_becomes_a_ladder_for_grpc(
    kind: ClientKind,
    policy: dict[str, object],
    weights: tuple[int, ...],
    expected: list[str],
    apart: bool,
) -> None:
    config = {"loadBalancingConfig": [policy]}
    assert ladder(config, weights, kind) == expected
    groups = endpoints(translate(snapshot(*fleet(*weights), config=config), kind)).endpoints
    assert (len(groups) == 2) is apart


@pytest.mark.parametrize("policy", ENVOYS)
def test_a_policy_becomes_an_enum_for_envoy(policy: str) -> None:
    config: dict[str, object] = {"loadBalancingConfig": [{policy: {}}]}
    made = cluster(translate(snapshot(*fleet(*EVEN), config=config), ClientKind.ENVOY))
    assert made.lb_policy == ENVOYS[policy]


def test_random_heeds_no_weights_in_envoy_and_so_gives_way_to_them() -> None:
    config: dict[str, object] = {"loadBalancingConfig": [{"random": {}}]}
    made = cluster(translate(snapshot(*fleet(*UNEVEN), config=config), ClientKind.ENVOY))
    assert made.lb_policy == ENVOYS["round_robin"]


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (ClientKind.CORE, {"minimumRingSize": "10", "maximumRingSize": "100"}),
        (ClientKind.NODE, {}),
        (ClientKind.OTHER, {}),
    ],
)
def test_a_ring_has_its_sizes_where_a_client_takes_them(
    kind: ClientKind, sizes: dict[str, str]
) -> None:
    config = {"loadBalancingConfig": [{"ring_hash": {"minRingSize": 10, "maxRingSize": 100}}]}
    made = MessageToDict(cluster(translate(snapshot(*fleet(1), config=config), kind)))
    (policy,) = made["loadBalancingPolicy"]["policies"]
    typed = dict(policy["typedExtensionConfig"]["typedConfig"])
    del typed["@type"]
    assert typed == {"hashFunction": "XX_HASH", **sizes}


def test_wrappers_are_looked_into() -> None:
    child = [{"random_subsetting": {"subsetSize": 3, "childPolicy": [{"least_request": {}}]}}]
    wrapped = {"outlier_detection": {"interval": "7s", "childPolicy": child}}
    config = Config(f'{{"loadBalancingConfig":[{str(wrapped).replace(chr(39), chr(34))}]}}')
    assert config.policy == "least_request"
    detection = config.outliers()
    assert detection is not None
    assert detection.interval.seconds == 7


def test_detectors_that_are_not_asked_for_are_off_for_they_are_on_by_default() -> None:
    detection = Config('{"outlierDetection":{"consecutiveErrors":3,"interval":"1s"}}').outliers()
    assert fields(detection) == {
        "interval": "1s",
        "consecutive5xx": 3,
        "enforcingConsecutive5xx": 100,
        "enforcingConsecutiveGatewayFailure": 0,
        "enforcingSuccessRate": 0,
        "enforcingFailurePercentage": 0,
    }


def test_outlier_detection_keeps_its_numbers() -> None:
    config = Config(
        '{"outlierDetection":{"maxEjectionPercent":50,"baseEjectionTime":"2.5s",'
        '"failurePercentageEjection":{"threshold":40,"minimumHosts":3,"requestVolume":10},'
        '"successRateEjection":{"enforcementPercentage":80,"stdevFactor":1500}}}'
    )
    assert fields(config.outliers()) == {
        "maxEjectionPercent": 50,
        "baseEjectionTime": "2.500s",
        "enforcingConsecutive5xx": 0,
        "enforcingConsecutiveGatewayFailure": 0,
        "enforcingSuccessRate": 80,
        "successRateStdevFactor": 1500,
        "enforcingFailurePercentage": 100,
        "failurePercentageThreshold": 40,
        "failurePercentageMinimumHosts": 3,
        "failurePercentageRequestVolume": 10,
    }


def test_a_circuit_breaker_becomes_thresholds() -> None:
    config = Config('{"circuitBreaker":{"maxRequests":7,"maxConnections":2}}')
    assert fields(config.thresholds()) == {"maxRequests": 7, "maxConnections": 2}
    assert Config("").thresholds() is None


def routes(config: object, kind: ClientKind) -> list[dict[str, object]]:
    made = translate(snapshot(*fleet(1), config=config), kind)
    message = RouteConfiguration.FromString(made.resources[Type.ROUTE].body)
    (host,) = MessageToDict(message)["virtualHosts"]
    found: list[dict[str, object]] = host["routes"]
    return found


def test_methods_come_before_services_and_those_before_the_rest() -> None:
    config = {
        "methodConfig": [
            {"name": [{}], "timeout": "3s"},
            {"name": [{"service": "a.B"}], "timeout": "2s"},
            {"name": [{"service": "a.B", "method": "C"}, {"service": "z.Z"}], "timeout": "1s"},
        ]
    }
    found = routes(config, ClientKind.GO)
    assert [one["match"] for one in found] == [
        {"path": "/a.B/C"},
        {"prefix": "/a.B/"},
        {"prefix": "/z.Z/"},
        {"prefix": "/"},
    ]
    assert [one["route"] for one in found] == [
        {"cluster": "greeter.shop", "maxStreamDuration": {"maxStreamDuration": limit}}
        for limit in ("1s", "2s", "1s", "3s")
    ]


def test_an_envoy_ends_no_stream_unless_it_is_told_to() -> None:
    (route,) = routes(None, ClientKind.ENVOY)
    assert route["route"] == {"cluster": "greeter.shop", "timeout": "0s"}


def test_retries_are_of_the_codes_that_xds_has() -> None:
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "0.05s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED"],
    }
    (route,) = routes({"methodConfig": [{"name": [{}], "retryPolicy": policy}]}, ClientKind.CORE)
    assert route["route"] == {
        "cluster": "greeter.shop",
        "retryPolicy": {
            "retryOn": "unavailable,resource-exhausted",
            "numRetries": 3,
            "retryBackOff": {"baseInterval": "0.100s", "maxInterval": "0.100s"},
        },
    }


@pytest.mark.parametrize("kind", ClientKind)
def test_a_header_is_hashed_where_the_policy_goes_by_it(kind: ClientKind) -> None:
    config = {"loadBalancingConfig": [{"ring_hash": {"requestHashHeader": "user"}}]}
    (route,) = routes(config, kind)
    action = route["route"]
    assert isinstance(action, dict)
    assert action["hashPolicy"] == [{"header": {"headerName": "user"}}]
