"""Outlier detection: who is ejected, for how long, and what bounds it."""

from collections.abc import Callable

import grpc
import pytest

from client_resolver import Observer
from client_resolver.testing import Backends, Balancer, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import (
    KINDS,
    SERVICE,
    call,
    calls,
    code_of,
    connected,
    failure,
    snapshot,
)

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

LONG = "1000s"
CONSECUTIVE = {"consecutiveErrors": 3, "interval": LONG, "baseEjectionTime": LONG}
SHORT = {"interval": "0.1s", "baseEjectionTime": "0.3s"}


def outliers(**fields: object) -> dict[str, object]:
    return {"outlierDetection": {"maxEjectionPercent": 50, **fields}}


async def tried(client: Client, count: int, kind: str = "unary_unary") -> int:
    """Make RPCs one after another, and return how many have failed."""
    failed = 0
    for _ in range(count):
        try:
            await call(client, kind)
        except grpc.RpcError:
            failed += 1
    return failed


class Log(Observer):
    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def ejected(self, target: str, backend: str, seconds: float, reason: str) -> None:
        self.told.append(("ejected", backend, reason))

    def returned(self, target: str, backend: str) -> None:
        self.told.append(("returned", backend))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_backend_that_fails_several_times_in_a_row_is_ejected(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    backends[0].fail()
    client = connect(backends.target, service_config=outliers(**CONSECUTIVE))
    await connected(client, 3)
    assert await tried(client, 9, kind) == 3
    assert await tried(client, 12, kind) == 0
    assert snapshot(client).ejected == (backends[0].address,)
    assert (backends.calls[0], sum(backends.calls)) == (3, 21)


async def test_a_backend_that_was_ejected_is_back_after_its_time(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    backends[0].fail()
    log = Log()
    config = outliers(**{**CONSECUTIVE, **SHORT})
    client = connect(backends.target, service_config=config, observers=[log])
    await connected(client, 3)
    assert await tried(client, 9) == 3
    backends.recover()
    await eventually(lambda: not snapshot(client).ejected)
    await connected(client, 3)
    backends.clear_calls()
    assert await tried(client, 6) == 0
    assert backends.calls == [2, 2, 2]
    await eventually(lambda: len(log.told) == 2)
    address = backends[0].address
    assert log.told == [("ejected", address, "3 errors in a row"), ("returned", address)]


async def test_a_success_in_between_begins_the_count_anew(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    backends[0].fail(share=0.5)
    client = connect(backends.target, service_config=outliers(**CONSECUTIVE))
    await connected(client, 2)
    assert await tried(client, 40) == 10
    assert snapshot(client).ejected == ()


async def test_an_error_that_is_the_callers_ejects_nobody(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    backends[0].fail(grpc.StatusCode.NOT_FOUND)
    client = connect(backends.target, service_config=outliers(**CONSECUTIVE))
    await connected(client, 2)
    assert await tried(client, 20) == 10
    assert snapshot(client).ejected == ()


async def test_what_counts_as_an_error_can_be_chosen(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    backends[0].fail(grpc.StatusCode.NOT_FOUND)
    config = outliers(**CONSECUTIVE, errorCodes=["NOT_FOUND"])
    client = connect(backends.target, service_config=config)
    await connected(client, 2)
    assert await tried(client, 20) == 3


async def test_a_backend_that_fails_half_of_its_rpcs_is_ejected_by_percentage(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    backends[0].fail(share=0.5)
    ejection = {"threshold": 40, "minimumHosts": 3, "requestVolume": 2}
    config = outliers(interval="0.5s", baseEjectionTime=LONG, failurePercentageEjection=ejection)
    client = connect(backends.target, service_config=config)
    await connected(client, 3)
    while not snapshot(client).ejected:
        await tried(client, 12)
    assert snapshot(client).ejected == (backends[0].address,)
    backends.clear_calls()
    assert await tried(client, 20) == 0
    assert backends.calls == [0, 10, 10]


async def test_a_backend_that_is_worse_than_the_others_is_ejected_by_success_rate(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(5)
    backends[4].fail(share=0.5)
    ejection = {"stdevFactor": 1000, "minimumHosts": 5, "requestVolume": 2}
    config = outliers(interval="0.5s", baseEjectionTime=LONG, successRateEjection=ejection)
    client = connect(backends.target, service_config=config)
    await connected(client, 5)
    while not snapshot(client).ejected:
        await tried(client, 20)
    assert snapshot(client).ejected == (backends[4].address,)


async def test_grpcs_own_form_of_the_config_is_understood(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(3)
    backends[0].fail()
    wrapper = {
        "interval": "0.5s",
        "baseEjectionTime": LONG,
        "maxEjectionPercent": 50,
        "failurePercentageEjection": {"threshold": 40, "minimumHosts": 3, "requestVolume": 2},
        "childPolicy": [{"round_robin": {}}],
    }
    config = {"loadBalancingConfig": [{"outlier_detection_experimental": wrapper}]}
    client = connect(backends.target, service_config=config)
    await connected(client, 3)
    assert snapshot(client).policy == "round_robin"
    while not snapshot(client).ejected:
        await tried(client, 12)
    assert await tried(client, 20) == 0


async def test_no_more_than_the_largest_percentage_is_ejected(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(4)
    for backend in backends:
        backend.fail()
    client = connect(backends.target, service_config=outliers(**CONSECUTIVE))
    await connected(client, 4)
    assert await tried(client, 40) == 40
    assert len(snapshot(client).ejected) == 2


async def test_in_a_panic_ejections_are_ignored(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(4)
    for backend in backends[:3]:
        backend.fail()
    config = {**outliers(**CONSECUTIVE, maxEjectionPercent=100), "panicThreshold": 30}
    client = connect(backends.target, service_config=config)
    await connected(client, 4)
    while len(snapshot(client).ejected) < 3:
        await tried(client, 1)
    assert snapshot(client).panic
    backends.recover()
    backends.clear_calls()
    await calls(client, 8)
    assert backends.calls == [2, 2, 2, 2]


async def test_the_balancer_may_begin_and_end_outlier_detection(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(2)
    backends[0].fail()
    lister.serve(SERVICE, backends)
    client = connect(lister.target(SERVICE))
    await connected(client, 2)
    assert await tried(client, 20) == 10
    before = snapshot(client).revision
    lister.serve(SERVICE, backends, service_config=outliers(**CONSECUTIVE))
    await eventually(lambda: snapshot(client).revision != before)
    await connected(client, 2)
    assert await tried(client, 20) == 3
    lister.serve(SERVICE, backends)
    await connected(client, 2)
    assert code_of(await failure_soon(client)) is grpc.StatusCode.UNAVAILABLE


async def failure_soon(client: Client) -> grpc.RpcError:
    """Make two RPCs, of which one is to fail."""
    try:
        await call(client)
    except grpc.RpcError as error:
        return error
    return await failure(client)
