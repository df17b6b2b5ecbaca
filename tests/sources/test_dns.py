"""The source that resolves a name, with a resolver and a clock of the test's own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress

import pytest

from lookaside.model import Endpoint, Health, ServiceKey, ServicePort, ServiceRecord
from lookaside.registry.inputs import Family
from lookaside.registry.steps import Steps
from lookaside.sources import dns
from lookaside.sources.dns import DnsSource, Unresolved, resolve_by_system, service_of

GREETER = ServiceKey("shop", "greeter")
UNKNOWN = Unresolved("greeter.shop: no such name", "unknown")

Answer = list[str] | Unresolved


class World:
    """A name server, a clock that moves by the source's own pauses, a feed and an observer."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.records: list[ServiceRecord] = []
        self.stale: list[bool] = []
        self.contacts = 0
        self.errors: list[str] = []
        self.pauses: list[float] = []
        self.now = 1000.0
        self.done = asyncio.Event()

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0)
        if isinstance(answer, Unresolved):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        if not self.answers:
            self.done.set()
            await asyncio.Event().wait()

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        assert (version, epoch) == (0, "")
        [record] = records
        self.records.append(record)

    def replacing(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> Steps[None]:
        raise AssertionError

    def update(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], *, version: int, at: float
    ) -> None:
        raise AssertionError

    def advance(self, version: int) -> None:
        raise AssertionError

    def set_missing(self, namespaces: Mapping[str, str]) -> None:
        raise AssertionError

    def set_lost(self, namespaces: Mapping[str, str]) -> None:
        raise AssertionError

    def follow_absences(self, absence: Callable[[ServiceKey], str]) -> None:
        raise AssertionError

    def set_stale(self, stale: bool) -> None:
        self.stale.append(stale)

    def source_contact(self, source: str) -> None:
        self.contacts += 1

    def source_error(self, source: str, reason: str) -> None:
        self.errors.append(reason)

    def refused(self, kind: str, annotation: str) -> None:
        raise AssertionError

    @property
    def views(self) -> list[list[str]]:
        return [[each.target for each in record.endpoints[""]] for record in self.records]


async def played(
    *answers: Answer,
    interval: float = 30.0,
    stale_after: float = 120.0,
    family: Family = "IPv4",
) -> World:
    """Run a source until every answer was given."""
    world = World(*answers)
    async with running(world, interval, stale_after, family):
        await asyncio.wait_for(world.done.wait(), 20)
    return world


@asynccontextmanager
async def running(
    world: World,
    interval: float = 30.0,
    stale_after: float = 120.0,
    family: Family = "IPv4",
) -> AsyncIterator[DnsSource]:
    source = DnsSource(
        "dns:greeter.shop:80",
        "greeter.shop",
        80,
        world,
        world,
        resolve=world.resolve,
        clock=lambda: world.now,
        sleep=world.sleep,
        family=family,
        interval=interval,
        stale_after=stale_after,
    )
    task = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_each_address_is_an_endpoint() -> None:
    world = await played(["10.0.0.2", "10.0.0.1", "10.0.0.2"])

    [record] = world.records
    assert (record.key, record.ports) == (GREETER, (ServicePort("", 80),))
    assert record.endpoints[""] == tuple(
        Endpoint(address, 80, health=Health.UNSPECIFIED) for address in ("10.0.0.1", "10.0.0.2")
    )
    assert world.asked == [("greeter.shop", 80)]


async def test_of_a_name_with_both_families_the_preferred_one_is_listed() -> None:
    both = ["fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2"]
    assert (await played(both)).views == [["10.0.0.1:80", "10.0.0.2:80"]]
    assert (await played(both, family="IPv6")).views == [["[fd00::1]:80", "[fd00::2]:80"]]


async def test_a_name_without_the_preferred_family_is_listed_by_the_other() -> None:
    assert (await played(["fd00::1"])).views == [["[fd00::1]:80"]]
    assert (await played(["10.0.0.1"], family="IPv6")).views == [["10.0.0.1:80"]]


async def test_the_same_answer_in_another_order_or_form_is_no_change() -> None:
    world = await played(["fd00::1", "fd00::2"], ["FD00:0::2", "fd00::1"])

    assert world.views == [["[fd00::1]:80", "[fd00::2]:80"]]
    assert world.contacts == 2


async def test_another_answer_is_served_at_the_next_look() -> None:
    world = await played(["10.0.0.1"], ["10.0.0.1", "10.0.0.2"], ["10.0.0.2"], interval=7.0)

    assert world.views == [["10.0.0.1:80"], ["10.0.0.1:80", "10.0.0.2:80"], ["10.0.0.2:80"]]
    assert world.pauses == [7.0, 7.0, 7.0]


@pytest.mark.parametrize("bad", [UNKNOWN, []], ids=["no such name", "no address"])
async def test_a_name_that_resolves_no_more_leaves_the_last_known_list(bad: Answer) -> None:
    world = await played(["10.0.0.1"], bad, bad, ["10.0.0.1"])

    assert world.views == [["10.0.0.1:80"]]
    assert world.errors == ["unknown", "unknown"]
    assert True not in world.stale


async def test_nothing_is_served_until_the_name_resolves_for_the_first_time() -> None:
    world = World(UNKNOWN, UNKNOWN)
    async with running(world) as source:
        await asyncio.wait_for(world.done.wait(), 20)
        assert repr(source) == "<DnsSource greeter.shop:80 not resolved yet, failed 2 times>"
        assert source.trouble == str(UNKNOWN)

    assert world.records == []
    assert world.stale == []


async def test_a_list_that_nobody_confirmed_for_long_is_stale_until_somebody_does() -> None:
    world = await played(["10.0.0.1"], *[UNKNOWN] * 5, ["10.0.0.1"], interval=30.0, stale_after=40)

    # Looks after the answer: at 30, 31, 33, 37 and 45 seconds, of which the last is too late.
    assert world.pauses == [30.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert world.stale == [True, False]
    assert world.views == [["10.0.0.1:80"]]


async def test_a_failure_is_asked_again_soon_but_never_later_than_after_the_interval() -> None:
    world = await played(*[UNKNOWN] * 5, interval=5.0)

    assert world.pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


async def test_a_resolver_that_says_nothing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "_TIMEOUT", 0.01)
    world = World()

    async def hang(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    world.resolve = hang  # type: ignore[method-assign]
    async with running(world):
        await asyncio.wait_for(world.done.wait(), 20)

    assert world.errors == ["silent"]


async def test_whatever_a_resolver_answers_leaves_the_last_known_list() -> None:
    world = await played(["10.0.0.1"], ["no address", "10.0.0.2"], ["10.0.0.3"])

    assert world.errors == ["error"]
    assert world.views == [["10.0.0.1:80"], ["10.0.0.3:80"]]


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "\ud800"])
async def test_a_host_name_that_the_system_refuses_to_ask_for_is_unknown(host: str) -> None:
    with pytest.raises(Unresolved, match="not a host name") as refused:
        await asyncio.wait_for(resolve_by_system(host, 80), 20)
    assert refused.value.reason == "unknown"


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("greeter", ServiceKey("default", "greeter")),
        ("greeter.shop", GREETER),
        ("greeter.shop.svc.cluster.local", GREETER),
        ("api.example.com", ServiceKey("example", "api")),
    ],
)
def test_a_service_is_named_by_the_first_labels(host: str, service: ServiceKey) -> None:
    assert service_of(host, "default") == service


Resolver = Callable[..., list[tuple[object, ...]]]


@pytest.mark.parametrize(
    ("number", "reason"),
    [(socket.EAI_NONAME, "unknown"), (socket.EAI_AGAIN, "unreachable")],
)
async def test_the_systems_refusals_have_a_reason(
    monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def refuse(*_args: object, **_more: object) -> Resolver:
        raise socket.gaierror(number, "no")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    with pytest.raises(Unresolved, match=r"^greeter\.shop: no$") as refused:
        await resolve_by_system("greeter.shop", 80)
    assert refused.value.reason == reason


async def test_the_system_resolves_a_name_without_addresses_of_one_link_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(*_args: object, **_more: object) -> list[tuple[object, ...]]:
        addresses = [("10.0.0.1", 80), ("fe80::1%eth0", 80, 0, 2), ("fd00::1", 80, 0, 0)]
        return [(0, 0, 0, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)

    assert await resolve_by_system("greeter.shop", 80) == ["10.0.0.1", "fd00::1"]
