"""What the tests of the pool and of what it is made of share."""

from collections.abc import Iterable, Sequence
from random import Random

from client_resolver.core.address import parse_address
from client_resolver.core.backend import Action, Backend, Close, Connect, Open
from client_resolver.core.config import PoolConfig, PoolOptions
from client_resolver.core.machine import Machine
from client_resolver.core.model import Connectivity, Endpoint
from client_resolver.core.picker import Picker
from client_resolver.core.pickers import policy_named
from client_resolver.core.pool import Pool

IDLE, CONNECTING, READY, FAILED = (
    Connectivity.IDLE,
    Connectivity.CONNECTING,
    Connectivity.READY,
    Connectivity.TRANSIENT_FAILURE,
)

ROUND_ROBIN = policy_named("round_robin")
WEIGHTED = policy_named("weighted_round_robin")
PICK_FIRST = policy_named("pick_first")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def endpoint(port: int, weight: int = 1, zone: str = "", node: str = "") -> Endpoint:
    return Endpoint(parse_address(f"10.0.0.1:{port}"), weight, zone=zone, node=node)


def endpoints(ports: Iterable[int]) -> list[Endpoint]:
    return [endpoint(port) for port in ports]


def make_pool(
    config: PoolConfig | None = None,
    options: PoolOptions | None = None,
    clock: Clock | None = None,
) -> Pool[object]:
    config = PoolConfig(policy=WEIGHTED) if config is None else config
    return Pool(config, Random(1), Clock() if clock is None else clock, options)


def by_port(pool: Pool[object]) -> dict[int, Backend[object]]:
    return {port_of(backend): backend for backend in pool}


def port_of(backend: Backend[object]) -> int:
    return int(backend.address.rpartition(":")[2])


def told(actions: Sequence[Action[object]]) -> list[tuple[str, int]]:
    """Say what is to be done, in few words."""
    names = {Open: "open", Connect: "connect", Close: "close"}
    return [(names[type(action)], port_of(action.backend)) for action in actions]


def pickers(
    pool: Pool[object],
) -> tuple[Picker[Backend[object]] | None, Picker[Backend[object]] | None]:
    """The pickers, with all that takes long to build built."""
    found = pool.pickers()
    while (build := pool.build) is not None:
        while not build.step():
            pass
        pool.built(build)
        found = pool.pickers()
    return found


def picked(pool: Pool[object]) -> set[int]:
    """Which backends the picker picks from, by their ports."""
    picker = pickers(pool)[0]
    return set() if picker is None else {port_of(picker.pick()) for _ in range(400)}


def shares(pool: Pool[object], picks: int) -> dict[int, int]:
    """How often each backend is picked."""
    picker = pickers(pool)[0]
    assert picker is not None
    counts: dict[int, int] = {}
    for _ in range(picks):
        port = port_of(picker.pick())
        counts[port] = counts.get(port, 0) + 1
    return counts


def wakes(pool: Pool[object]) -> float | None:
    return pool.wake_at


def news(pool: Pool[object] | Machine[object]) -> str:
    """Whether something is to be published."""
    return "urgent" if pool.urgent else "changed" if pool.changed else ""


def make_ready(pool: Pool[object], *ports: int) -> None:
    backends = by_port(pool)
    for port in ports:
        pool.observed(backends[port], READY)


def listed(pool: Pool[object], *ports: int, now: float = 0.0) -> list[Backend[object]]:
    """Have these backends and no others, all of them ready."""
    pool.update(endpoints(ports), now)
    make_ready(pool, *ports)
    backends = by_port(pool)
    return [backends[port] for port in ports]
