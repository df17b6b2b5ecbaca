"""Slow start: a backend that joins gets its share little by little."""

from collections.abc import Callable

from client_resolver.testing import Backends, Balancer, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import SERVICE, calls, connected, snapshot

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]


def weights(client: Client) -> list[float]:
    """The effective weights in the list's order, the largest as 1."""
    found = [one.effective_weight for one in snapshot(client).backends]
    return [weight / max(found) for weight in found]


async def joined(
    window: str, fleet: Fleet, lister: Balancer, connect: Connect
) -> tuple[Client, Backends]:
    """Connect two backends, and then a third."""
    backends = fleet(3)
    config = {"slowStart": {"window": window, "minWeightPercent": 10}}
    lister.serve(SERVICE, backends[:2], service_config=config)
    client = connect(lister.target(SERVICE))
    await connected(client, 2)
    assert weights(client) == [1, 1]
    lister.add(SERVICE, backends[2])
    await connected(client, 3)
    return client, backends


async def test_a_backend_that_joins_begins_with_the_least_share(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    client, backends = await joined("100000s", fleet, lister, connect)
    new = [one.address for one in snapshot(client).backends].index(backends[2].address)
    assert weights(client)[new] == 0.1
    backends.clear_calls()
    await calls(client, 42)
    # A tenth of what each of the others has: 2 of 42.
    assert abs(backends.calls[2] - 2) < 1
    assert abs(backends.calls[0] - backends.calls[1]) < 2


async def test_a_backend_has_its_full_share_at_the_end_of_its_window(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    client, backends = await joined("0.5s", fleet, lister, connect)
    seen = set[float]()

    def grown() -> bool:
        seen.add(min(weights(client)))
        return min(weights(client)) == 1

    await eventually(grown)
    assert min(seen) < 1
    await connected(client, 3)
    backends.clear_calls()
    await calls(client, 12)
    assert backends.calls == [4, 4, 4]


async def test_backends_that_are_all_new_share_from_the_start(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    config = {"slowStart": {"window": "100000s"}}
    client = connect(backends.target, service_config=config)
    await connected(client, 3)
    await calls(client, 12)
    assert backends.calls == [4, 4, 4]
