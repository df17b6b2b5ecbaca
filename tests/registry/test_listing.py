"""A list that is made as a change of the one before is the list that is made whole."""

from random import Random

import pytest

from lookaside.model import Hints, ServiceKey, ServicePort
from lookaside.registry import contributions
from lookaside.registry.cluster import Cluster
from lookaside.registry.slices import Service, Slice, SliceEndpoint, SlicePort
from lookaside.registry.steps import CHUNK, finish

KEY = ServiceKey("shop", "greeter")
SLICES, EACH = 8, 20


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the addresses of all endpoints that were made of slices' endpoints."""
    addresses: list[str] = []
    member = contributions._member

    def counted(*args: object) -> contributions.ContributedEndpoint:
        one = member(*args)  # type: ignore[arg-type]
        addresses.append(one.endpoint.address)
        return one

    monkeypatch.setattr(contributions, "_member", counted)
    return addresses


def endpoint(number: int, chance: Random) -> SliceEndpoint:
    serving = chance.random() < 0.9
    leaving = chance.random() < 0.05
    return SliceEndpoint(
        f"10.{number % 7}.{number // 250}.{number % 250}",
        ready=serving and not leaving,
        serving=serving,
        terminating=leaving,
        target_uid=f"u{number}",
        hints=Hints(("a",)),
    )


def a_slice(number: int, endpoints: tuple[SliceEndpoint, ...]) -> Slice:
    return Slice(KEY, f"s{number}", "IPv4", (SlicePort("", 1),), endpoints)


def filled(cluster: Cluster, chance: Random) -> list[Slice]:
    cluster.set_service(Service(KEY, (ServicePort("", 80),)))
    slices = [
        a_slice(n, tuple(endpoint(n * EACH + m, chance) for m in range(EACH)))
        for n in range(SLICES)
    ]
    cluster.replace_slices(slices)
    cluster.touched()
    return slices


def test_patches_give_what_a_replica_has_that_was_started_after_them() -> None:
    chance = Random(7)
    cluster = Cluster(large=0)
    slices = filled(cluster, chance)
    for _ in range(30):
        number = chance.randrange(SLICES)
        endpoints = list(slices[number].endpoints)
        for _ in range(chance.choice((1, 1, 5))):
            # Another's address at times: two slices have it then.
            endpoints[chance.randrange(EACH)] = endpoint(
                chance.randrange(2 * SLICES * EACH), chance
            )
        slices[number] = a_slice(number, tuple(endpoints))
        cluster.set_slice(slices[number])
        (record,) = cluster.touched().values()
        fresh = Cluster(large=10_000)
        fresh.set_service(Service(KEY, (ServicePort("", 80),)))
        fresh.replace_slices(slices)
        (expected,) = fresh.records()
        assert record is not None
        assert record.serves_as(expected)


def test_a_patch_costs_its_slice_and_not_the_service(made: list[str]) -> None:
    chance = Random(7)
    cluster = Cluster(large=0)
    slices = filled(cluster, chance)
    (before,) = cluster.records()
    made.clear()
    changed = list(slices[3].endpoints)
    changed[0] = SliceEndpoint("10.9.9.9", hints=Hints(("a",)))
    cluster.set_slice(a_slice(3, tuple(changed)))
    cluster.take_touched()
    steps = cluster.recording(KEY)
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            record = end.value
            break
        count += 1
    assert len(made) == EACH
    assert count < 12
    # What has not changed is the very same.
    known = {id(one) for one in before.endpoints[""]}
    assert sum(id(one) not in known for one in record.endpoints[""]) == 1


def test_no_step_of_a_first_list_makes_more_than_a_slice(made: list[str]) -> None:
    cluster = Cluster(large=0)
    filled(cluster, Random(7))
    cluster.set_service(Service(KEY, (ServicePort("", 81),)))
    made.clear()
    most = before = 0
    for _ in cluster.recording(KEY):
        most, before = max(most, len(made) - before), len(made)
    assert most == EACH < CHUNK


def test_a_merge_that_is_given_up_leaves_what_was_touched_to_the_next() -> None:
    cluster = Cluster(large=0)
    slices = filled(cluster, Random(7))
    cluster.set_slice(a_slice(3, slices[3].endpoints[:1]))
    steps = cluster.recording(KEY)
    next(steps)
    cluster.set_slice(a_slice(4, slices[4].endpoints[:1]))
    steps.close()
    fresh = Cluster()
    fresh.set_service(Service(KEY, (ServicePort("", 80),)))
    slices[3:5] = [a_slice(n, slices[n].endpoints[:1]) for n in (3, 4)]
    fresh.replace_slices(slices)
    record, (expected,) = finish(cluster.recording(KEY)), fresh.records()
    assert record is not None
    assert record.serves_as(expected)
