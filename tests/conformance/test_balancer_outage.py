"""All balancers die under load and come back: no RPC fails, and the clients come back apart."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from client_resolver.testing import Backend, Backends, eventually
from client_resolver.testing.server import reserve_port
from tests.cluster.processes import ManagedProcess
from tests.conformance.clients import Client
from tests.conformance.fleet import SERVICE, connected, listed
from tests.conformance.traffic import Traffic

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

CHANNELS = 20
BACKOFF = (0.1, 3.0)
"""`watch_backoff` as it is by default."""

LONGEST = 7
"""Attempts at a dead balancer after which the bound of the waits has doubled up to its largest."""

BACK = 20.0
"""Seconds that every channel has to come back. By its waits it takes 1.5 s."""

PATIENCE = 100.0
"""Seconds after which a test that waits for an event has failed."""

APART = 0.4
"""Seconds that the waits of the channels differ by, at least.

With full jitter and two balancers, a channel waits from 0 to `3.0 / 2` = 1.5 s before its next
attempt. That 20 such waits lie within 0.4 s has a probability of 2 in 10 000 000 000, and a machine
that is busy only draws them apart. Without jitter, all would be the same.
"""


class Replica(ManagedProcess):
    """A balancer in a process of its own, at one port for all its lives."""

    def __init__(self, name: str, endpoints: Path) -> None:
        self.address = f"127.0.0.1:{reserve_port(self)}"
        argv = [
            *(sys.executable, "-m", "lookaside", "serve", "--source", f"file:{endpoints}"),
            *("--listen", self.address, "--admin", "off", "--log-format", "json"),
        ]
        super().__init__(name, argv, endpoints.parent)

    def times(self, event: str) -> list[float]:
        """When it has logged this, in all its lives, in seconds since the epoch."""
        lines = self.log.read_text().splitlines(keepends=True)
        said = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        moments = [one["timestamp"] for one in said if one["event"] == event]
        return [datetime.fromisoformat(moment).timestamp() for moment in moments]

    async def synced(self, lives: int) -> None:
        """Wait until it has read its list in each of so many lives."""
        await asyncio.to_thread(
            self.wait_until, lambda: len(self.times("synced")) == lives, PATIENCE
        )


class Listing:
    """The file that the balancers read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, backends: list[Backend]) -> None:
        endpoints = [{"address": backend.address} for backend in backends]
        written = self.path.with_suffix(".new")
        written.write_text(json.dumps({"services": {SERVICE: {"endpoints": endpoints}}}))
        written.replace(self.path)


class Attempts:
    """When a channel has begun a watch, in seconds since the epoch: it asks for a token then."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self) -> str:
        self.times.append(time.time())
        return "token"

    def since(self, moment: float) -> list[float]:
        """Those from a moment on."""
        return [one for one in self.times if one >= moment]


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    return Listing(tmp_path / "endpoints.yaml")


@pytest.fixture
def replicas(listing: Listing) -> Iterator[list[Replica]]:
    """Two balancers, not yet started."""
    with ExitStack() as stack:
        made = [Replica(name, listing.path) for name in ("first", "second")]
        for one in made:
            stack.callback(one.stop)
        yield made


async def started(replicas: list[Replica], lives: int) -> list[float]:
    """Start all, wait until they serve their lists, and return when each began to listen."""
    for one in replicas:
        one.start()
    for one in replicas:
        await one.synced(lives)
    return [one.times("serving")[-1] for one in replicas]


async def all_list(clients: list[Client], backends: list[Backend]) -> None:
    """Wait until this list has come to every channel."""
    addresses = {backend.address for backend in backends}

    def has(client: Client) -> bool:
        return {name for name, one in listed(client).items() if not one.draining} == addresses

    await eventually(lambda: all(map(has, clients)), PATIENCE)


async def test_no_rpc_fails_when_all_balancers_are_killed_and_all_channels_are_back_soon_and_apart(
    fleet: Fleet,
    listing: Listing,
    replicas: list[Replica],
    connect: Connect,
    figures: Callable[[object], None],
) -> None:
    backends = fleet(4)
    listing.write(backends[:3])
    await started(replicas, 1)
    target = f"lookaside://{','.join(one.address for one in replicas)}/{SERVICE}"
    attempts = [Attempts() for _ in range(CHANNELS)]
    clients = [
        connect(target, watch_backoff=BACKOFF, balancer_token=one, insecure_balancer_token=True)
        for one in attempts
    ]
    for client in clients:
        await connected(client, 3)

    async with Traffic(*clients, workers=CHANNELS, pause=0.05) as traffic:
        killed = time.time()
        for one in replicas:
            one.kill()
        await eventually(
            lambda: all(len(one.since(killed)) >= LONGEST for one in attempts), PATIENCE
        )
        await traffic.progress()
        listing.write(backends[:])
        serving = await started(replicas, 2)
        await all_list(clients, backends[:])
        back = time.time() - max(serving)
        # A watch works when it tells of changes, too, not only of what has changed meanwhile.
        listing.write(backends[1:])
        await all_list(clients, backends[1:])
        await traffic.progress()

    waits = [
        longest - before for *_, before, longest in (a.since(killed)[:LONGEST] for a in attempts)
    ]
    begun = [len(one.since(max(serving))) for one in attempts]
    figures(
        f"{traffic}; {CHANNELS} channels back in {back:.2f} s after waits from {min(waits):.2f} s"
        f" to {max(waits):.2f} s, {sum(begun)} watches begun, {max(begun)} at most by one channel"
    )
    assert not traffic.failed
    assert back < BACK
    assert max(waits) - min(waits) >= APART
    # Once both are there, most channels need no more than the watch that works. One fails whose
    # connection still waits to be tried again, which takes a second at most.
    assert sum(begun) <= 2 * CHANNELS
