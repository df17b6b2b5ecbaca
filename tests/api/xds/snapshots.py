"""Lists and service configs for tests, chosen by Hypothesis or given in short."""

import json

from hypothesis import strategies as st

from lookaside.model import (
    MAX_WEIGHT,
    Endpoint,
    Locality,
    Revision,
    ServiceKey,
    ServiceName,
    Snapshot,
    State,
)

NAME = ServiceName(ServiceKey("shop", "greeter"))
ZONES = ("", "a", "b")
NODES = ("", "n1", "n2")


def snapshot(*endpoints: Endpoint, config: object = None) -> Snapshot:
    state = State.PRESENT if endpoints else State.EMPTY
    text = json.dumps(config) if config else ""
    return Snapshot(NAME, "test", state, tuple(endpoints), Revision("d"), text)


def fleet(*weights: int, zone: str = "", node: str = "") -> list[Endpoint]:
    return [
        Endpoint(f"10.0.{index // 256}.{index % 256}", 50051, weight, locality=Locality(zone, node))
        for index, weight in enumerate(weights)
    ]


_addresses = st.one_of(
    st.integers(0, 300).map(lambda n: f"10.0.{n // 256}.{n % 256}"),
    st.integers(1, 50).map(lambda n: f"fd00::{n:x}"),
    st.sampled_from(["localhost", "backend.example"]),
)
_endpoints = st.builds(
    Endpoint,
    _addresses,
    st.sampled_from([80, 50051]),
    st.one_of(st.sampled_from([0, 1, 100, MAX_WEIGHT]), st.integers(0, MAX_WEIGHT)),
    locality=st.builds(Locality, st.sampled_from(ZONES), st.sampled_from(NODES)),
)
_policies = st.sampled_from(
    [
        *({name: {}} for name in ("round_robin", "random", "peak_ewma", "maglev", "unheard_of")),
        *({"pick_first": {"shuffleAddressList": flag}} for flag in (False, True)),
        {"least_request": {}},
        {"least_request_experimental": {"choiceCount": 5}},
        {"ring_hash": {"minRingSize": 10, "maxRingSize": 100, "requestHashHeader": "user"}},
        {"ring_hash": {"maxRingSize": 2048}},
        {"ring_hash_experimental": {"minRingSize": "4096"}},
        {"weighted_round_robin": {}},
        {"weighted_round_robin": {"backendMetrics": True, "blackoutPeriod": "2.5s"}},
        {"weighted_round_robin": {"backendMetrics": True, "enableOobLoadReport": True}},
        {
            "outlier_detection": {
                "interval": "1s",
                "failurePercentageEjection": {"threshold": 50},
                "childPolicy": [{"round_robin": {}}],
            }
        },
        {"random_subsetting": {"subsetSize": 2, "childPolicy": [{"least_request": {}}]}},
    ]
)
_retries = st.fixed_dictionaries(
    {
        "maxAttempts": st.sampled_from([2, 5, 50]),
        "initialBackoff": st.sampled_from(["0.1s", "5s"]),
        "maxBackoff": st.sampled_from(["0.2s", "1s"]),
        "backoffMultiplier": st.just(2),
        "retryableStatusCodes": st.sampled_from([["UNAVAILABLE"], ["ABORTED"], ["INTERNAL"]]),
    }
)
_methods = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from([[{}], [{"service": "s"}], [{"service": "s", "method": "m"}]])},
        optional={"timeout": st.sampled_from(["0s", "1.5s"]), "retryPolicy": _retries},
    ),
    max_size=3,
    unique_by=lambda method: json.dumps(method["name"]),
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "loadBalancingConfig": st.lists(_policies, min_size=1, max_size=3),
        "loadBalancingPolicy": st.sampled_from(["round_robin", "PICK_FIRST"]),
        "methodConfig": _methods,
        "outlierDetection": st.sampled_from(
            [{}, {"consecutiveErrors": 5}, {"successRateEjection": {"stdevFactor": 1000}}]
        ),
        "circuitBreaker": st.sampled_from([{"maxRequests": 0}, {"maxConnections": 5}]),
        "localityPriorities": st.sampled_from(
            [{"levels": ["zone"]}, {"levels": ["node", "zone"], "overprovisioningFactor": 200}]
        ),
    },
)
snapshots = st.builds(
    lambda endpoints, config: snapshot(*sorted(endpoints), config=config),
    st.lists(_endpoints, max_size=60, unique_by=lambda one: one.target),
    configs,
)
