"""Where the backends come from: several balancers, DNS, fallbacks, the disk, users' resolvers."""

import asyncio
import json
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest
import trustme

from client_resolver import resolver
from client_resolver.config.settings import Settings
from client_resolver.config.target import LookasideTarget
from client_resolver.core.address import Address
from client_resolver.core.model import Revision
from client_resolver.core.polling import Polling
from client_resolver.resolver import Answer, Server
from client_resolver.resolver.cache_file import CacheFile
from client_resolver.testing import eventually
from tests.conformance._pb import echo_pb2_grpc
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub
from tests.conformance.clients import Client
from tests.conformance.feeds import Feed, Names, settings_of
from tests.conformance.servers import BOUND, Backend, Balancer

FeedFactory = Callable[..., Feed]
NOT_FOUND = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NEVER = 3600.0


@pytest.fixture
async def feed(shell: str) -> AsyncIterator[FeedFactory]:
    """Starts resolutions by target and closes them."""
    made: list[Feed] = []

    def make(
        target: str | Settings,
        fallback_after: float = NEVER,
        first_message: float = NEVER,
        **keywords: Any,
    ) -> Feed:
        settings = target if isinstance(target, Settings) else settings_of(target, keywords)
        waits = {"fallback_after": fallback_after, "first_message": first_message}
        made.append(Feed(shell, settings, **waits))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture
def nobody() -> Any:
    """The address of a balancer that refuses every connection."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


def lookaside(*balancers: Balancer | str) -> str:
    named = ",".join(one if isinstance(one, str) else one.address for one in balancers)
    return f"lookaside://{named}/greeter.shop"


# Several balancers


async def test_a_balancer_that_is_down_is_passed_over(
    new_balancer: Callable[..., Balancer], nobody: str, feed: FeedFactory
) -> None:
    balancer = new_balancer()
    balancer.say(["10.0.0.1:80"])
    # Whichever of the two a client begins with.
    feeds = [feed(lookaside(nobody, balancer)) for _ in range(8)]
    for one in feeds:
        await one.until_listed("10.0.0.1:80")


async def test_an_rpc_waits_until_each_balancer_has_been_asked(
    balancer: Balancer, nobody: str, backend: Callable[..., Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    balancer.say([server.address])
    # None of them begins with the one that is down: one chance in 256.
    clients = [connect(lookaside(nobody, balancer)) for _ in range(8)]
    for client in clients:
        assert await client.unary(timeout=BOUND) == b"x"


async def test_an_rpc_fails_when_each_balancer_has_been_asked(
    nobody: str, connect: Callable[..., Client]
) -> None:
    other = nobody.replace("127.0.0.1", "localhost")
    with pytest.raises(grpc.RpcError) as caught:
        await connect(lookaside(nobody, other)).unary(timeout=BOUND)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert f"each of the balancers {nobody}, {other} gives no list" in str(caught.value.details())


async def test_clients_spread_over_several_balancers(
    new_balancer: Callable[..., Balancer], feed: FeedFactory
) -> None:
    balancers = [new_balancer() for _ in range(2)]
    for balancer in balancers:
        balancer.say(["10.0.0.1:80"])
    feeds = [feed(lookaside(*balancers)) for _ in range(32)]
    for one in feeds:
        await one.until_listed("10.0.0.1:80")
    assert sum(balancer.watches for balancer in balancers) == 32
    # They could all be on one: one chance in two billion.
    assert all(balancer.watches for balancer in balancers)


async def test_clients_spread_over_the_addresses_of_one_name(
    new_balancer: Callable[..., Balancer], feed: FeedFactory
) -> None:
    balancers = [new_balancer() for _ in range(2)]
    for balancer in balancers:
        balancer.say(["10.0.0.1:80"])
    both = Address("lb:1", "ipv4:" + ",".join(balancer.address for balancer in balancers))
    target = LookasideTarget("lookaside://lb:1/greeter.shop", (both,), "greeter.shop")
    settings = replace(settings_of("lookaside://lb:1/greeter.shop", {}), target=target)
    feeds = [feed(settings) for _ in range(32)]
    for one in feeds:
        await one.until_listed("10.0.0.1:80")
    assert all(balancer.watches for balancer in balancers)


async def test_a_client_whose_balancer_dies_tells_the_next_what_it_holds(
    new_balancer: Callable[..., Balancer], feed: FeedFactory
) -> None:
    balancers = [new_balancer() for _ in range(2)]
    for balancer in balancers:
        balancer.say(["10.0.0.1:80"], revision=("a", 1, "e"))
    one = feed(lookaside(*balancers))
    await one.until_listed("10.0.0.1:80")
    dying, other = sorted(balancers, key=lambda balancer: -balancer.watches)
    await asyncio.to_thread(dying.stop)
    await asyncio.to_thread(other.await_watches, 1)
    assert other.requests[0].known.digest == "a"
    other.say(["10.0.0.2:80"], revision=("b", 2, "e"))
    await one.until_listed("10.0.0.2:80")
    assert f"at {dying.address}" in one.losses[0]


async def test_a_balancer_that_says_nothing_is_passed_over(
    new_balancer: Callable[..., Balancer], feed: FeedFactory
) -> None:
    silent, balancer = new_balancer(), new_balancer()
    balancer.say(["10.0.0.1:80"])
    feeds = [feed(lookaside(silent, balancer), first_message=0.2) for _ in range(32)]
    for one in feeds:
        await one.until_listed("10.0.0.1:80")
    # None began with the silent one: one chance in four billion.
    told = f"at {silent.address}: no answer within 0.2 s"
    assert any(told in loss for one in feeds for loss in one.losses)


async def test_a_balancer_that_has_nothing_new_to_say_is_not_passed_over(
    new_balancer: Callable[..., Balancer], feed: FeedFactory
) -> None:
    balancers = [new_balancer() for _ in range(2)]
    for balancer in balancers:
        balancer.say(["10.0.0.1:80"], revision=("a", 1, "e"))
    one = feed(lookaside(*balancers), first_message=1.0)
    await one.until_listed("10.0.0.1:80")
    asked, other = sorted(balancers, key=lambda balancer: -balancer.watches)
    asked.end_watches()
    await asyncio.to_thread(other.await_watches, 1)
    for number in range(2, 22):
        # Longer than it would have in all: it is told of changes, one by one.
        await asyncio.sleep(0.06)
        other.say(["10.0.0.1:80"], revision=("a", number, "e"))
    other.say(["10.0.0.2:80"], revision=("b", 22, "e"))
    await one.until_listed("10.0.0.2:80")
    assert len(one.losses) == 1


@pytest.mark.parametrize("restarted", [1, 2])
async def test_all_clients_are_back_within_five_seconds_of_a_restart_of_any_balancer(
    restarted: int, new_balancer: Callable[..., Balancer], feed: FeedFactory
) -> None:
    balancers = [new_balancer() for _ in range(2)]
    for balancer in balancers:
        balancer.say(["10.0.0.1:80"])
    feeds = [feed(lookaside(*balancers), watch_backoff=(0.1, 3.0)) for _ in range(12)]
    for one in feeds:
        await one.until_listed("10.0.0.1:80")
    for balancer in balancers:
        await asyncio.to_thread(balancer.stop)
    # Away until the waits between attempts are the longest.
    for one in feeds:
        await one.until(lambda one=one: len(one.losses) >= 6)  # type: ignore[misc]
    assert all(one.addresses == ["10.0.0.1:80"] for one in feeds)
    began = monotonic()
    for balancer in balancers[:restarted]:
        new_balancer(balancer.port).say(["10.0.0.2:80"])
    for one in feeds:
        await one.until_listed("10.0.0.2:80")
    assert monotonic() - began < 5.0


async def test_a_watch_that_waits_is_tried_at_once_when_asked_to(
    balancer: Balancer, feed: FeedFactory
) -> None:
    balancer.fail(grpc.StatusCode.UNAVAILABLE, "not synced")
    one = feed(lookaside(balancer), watch_backoff=(NEVER, NEVER))
    await one.until(lambda: bool(one.losses))
    balancer.say(["10.0.0.1:80"])

    while one.addresses is None:
        # What is asked for before the wait has begun is no concern of that wait.
        one.resolution.resolve_now()
        await asyncio.sleep(0.01)
    assert one.addresses == ["10.0.0.1:80"]


# Tokens


@pytest.mark.parametrize("kind", ["callable", "file"])
async def test_each_watch_carries_the_token_of_its_time(
    kind: str, balancer: Balancer, feed: FeedFactory, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    token = path if kind == "file" else path.read_text
    balancer.say(["10.0.0.1:80"])
    one = feed(lookaside(balancer), balancer_token=token, insecure_balancer_token=True)
    await one.until_listed("10.0.0.1:80")
    path.write_text("second\n")
    balancer.end_watches()
    await asyncio.to_thread(balancer.await_requests, 2)
    sent = [metadata["authorization"] for metadata in balancer.metadata[:2]]
    assert sent == ["Bearer first", "Bearer second"]


async def test_without_a_token_none_is_sent(balancer: Balancer, feed: FeedFactory) -> None:
    balancer.say(["10.0.0.1:80"])
    await feed(lookaside(balancer)).until_listed("10.0.0.1:80")
    assert "authorization" not in balancer.metadata[0]


async def test_a_token_that_cannot_be_had_is_told_and_tried_again(
    balancer: Balancer, feed: FeedFactory, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    balancer.say(["10.0.0.1:80"])
    one = feed(lookaside(balancer), balancer_token=path, insecure_balancer_token=True)
    await one.until(lambda: len(one.losses) >= 2)
    assert str(path) in one.losses[0]
    path.write_text("secret")
    await one.until_listed("10.0.0.1:80")
    assert len(balancer.requests) == 1


# DNS


async def test_every_address_of_a_name_is_a_backend(names: Names, feed: FeedFactory) -> None:
    names.set("greeter.shop", ["10.0.0.2", "10.0.0.1"])
    await feed("dns:///greeter.shop:80").until_listed("10.0.0.2:80", "10.0.0.1:80")


async def test_localhost_is_a_name(feed: FeedFactory) -> None:
    one = feed("dns:localhost:80")
    await one.until(lambda: bool(one.addresses))
    assert set(one.addresses or ()) <= {"127.0.0.1:80", "[::1]:80"}


async def test_a_name_is_looked_up_again_at_each_interval(names: Names, feed: FeedFactory) -> None:
    names.set("greeter.shop", ["10.0.0.1"])
    one = feed("dns:///greeter.shop:80", refresh_interval=0.05)
    await one.until_listed("10.0.0.1:80")
    names.set("greeter.shop", ["10.0.0.1", "10.0.0.2"])
    await one.until_listed("10.0.0.1:80", "10.0.0.2:80")


@pytest.mark.parametrize("poke", ["resolve_now", "backend_failed"])
async def test_a_name_is_looked_up_again_when_there_is_a_reason(
    poke: str, shell: str, names: Names, feed: FeedFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = partial(Polling, gap=0.05)
    monkeypatch.setattr(f"client_resolver.{shell}.resolution.Polling", hasty)
    names.set("greeter.shop", ["10.0.0.1"])
    one = feed("dns:///greeter.shop:80", refresh_interval=NEVER)
    await one.until_listed("10.0.0.1:80")
    names.set("greeter.shop", ["10.0.0.2"])
    getattr(one.resolution, poke)()
    await one.until_listed("10.0.0.2:80")
    assert names.looks["greeter.shop"] == 2


async def test_backends_that_fail_all_the_time_are_no_storm_of_lookups(
    names: Names, feed: FeedFactory
) -> None:
    names.set("greeter.shop", ["10.0.0.1"])
    one = feed("dns:///greeter.shop:80", refresh_interval=NEVER)
    await one.until_listed("10.0.0.1:80")
    for _ in range(1000):
        one.resolution.backend_failed()
    # A look that is asked for comes at once, and so would any that is due before it.
    one.resolution.resolve_now()
    await names.until_looked("greeter.shop", 2)
    await one.until(lambda: one.lists == 2)
    assert names.looks["greeter.shop"] == 2


async def test_a_lookup_that_fails_takes_no_backend_away(
    names: Names, feed: FeedFactory, caplog: pytest.LogCaptureFixture
) -> None:
    names.set("greeter.shop", ["10.0.0.1"])
    one = feed("dns:///greeter.shop:80", refresh_interval=0.05)
    await one.until_listed("10.0.0.1:80")
    with caplog.at_level(logging.WARNING, "client_resolver"):
        names.set("greeter.shop", NOT_FOUND)
        await one.until(lambda: len(one.losses) >= 3)
        assert one.addresses == ["10.0.0.1:80"]
        names.set("greeter.shop", ["10.0.0.2"])
        await one.until_listed("10.0.0.2:80")
    [record] = caplog.records
    assert "DNS name greeter.shop:80 is lost" in record.getMessage()
    assert "Name or service not known" in record.getMessage()
    assert "the 1 backends last known are kept" in record.getMessage()


async def test_a_name_that_was_never_found_says_so(names: Names, feed: FeedFactory) -> None:
    names.set("greeter.shop", NOT_FOUND)
    one = feed("dns:///greeter.shop:80")
    await one.until(lambda: one.watch.failure is not None)
    assert one.watch.failure is not None
    assert "DNS name greeter.shop:80 gives no list" in one.watch.failure.details


# Fallbacks


async def test_a_fallback_is_used_while_the_balancer_is_down_and_left_when_it_is_back(
    names: Names,
    nobody: str,
    new_balancer: Callable[..., Balancer],
    feed: FeedFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    names.set("greeter.shop", ["10.0.0.1"])
    with caplog.at_level(logging.WARNING, "client_resolver"):
        one = feed(lookaside(nobody), fallback="dns:///greeter.shop:80", refresh_interval=0.05)
        await one.until_listed("10.0.0.1:80")
        names.set("greeter.shop", ["10.0.0.2"])
        await one.until_listed("10.0.0.2:80")
    assert (
        "the fallback dns:///greeter.shop:80 is used until a balancer gives a list" in caplog.text
    )


async def test_a_fallback_is_left_for_ever_at_the_balancers_first_list(
    names: Names, balancer: Balancer, feed: FeedFactory
) -> None:
    names.set("greeter.shop", ["10.0.0.1"])
    balancer.fail(grpc.StatusCode.UNAVAILABLE, "not synced")
    one = feed(lookaside(balancer), fallback="dns:///greeter.shop:80", refresh_interval=0.05)
    await one.until_listed("10.0.0.1:80")
    balancer.say(["10.0.0.2:80"])
    await one.until_listed("10.0.0.2:80")
    balancer.fail(grpc.StatusCode.UNAVAILABLE, "not synced")
    before = names.looks["greeter.shop"]
    losses = len(one.losses)
    await one.until(lambda: len(one.losses) >= losses + 5)
    assert one.addresses == ["10.0.0.2:80"]
    # One may have been under way.
    assert names.looks["greeter.shop"] <= before + 1


async def test_a_fallback_is_used_when_the_balancer_says_nothing_for_a_while(
    balancer: Balancer, feed: FeedFactory
) -> None:
    one = feed(lookaside(balancer), fallback_after=0.05, fallback="static:///10.0.0.1:80")
    await one.until_listed("10.0.0.1:80")
    assert not one.losses


async def test_a_fallback_that_is_not_needed_is_never_looked_up(
    names: Names, balancer: Balancer, feed: FeedFactory
) -> None:
    names.set("greeter.shop", ["10.0.0.1"])
    balancer.say(["10.0.0.2:80"])
    one = feed(lookaside(balancer), fallback="dns:///greeter.shop:80")
    await one.until_listed("10.0.0.2:80")
    await asyncio.to_thread(balancer.stop)
    await one.until(lambda: len(one.losses) >= 3)
    assert names.looks == {}


async def test_a_fallback_that_fails_as_well_is_told_once(
    names: Names, nobody: str, feed: FeedFactory, caplog: pytest.LogCaptureFixture
) -> None:
    names.set("greeter.shop", NOT_FOUND)
    with caplog.at_level(logging.WARNING, "client_resolver"):
        feed(lookaside(nobody), fallback="dns:///greeter.shop:80", refresh_interval=0.05)
        await names.until_looked("greeter.shop", 4)
    told = [record for record in caplog.records if "the fallback" in record.getMessage()]
    assert len(told) == 1
    assert "Name or service not known" in told[0].getMessage()


# The list on disk


async def test_a_client_starts_from_the_disk_while_every_balancer_is_down(
    balancer: Balancer, feed: FeedFactory, tmp_path: Path
) -> None:
    path = tmp_path / "list.json"
    balancer.say([("10.0.0.1:80", 7)], revision=("a", 1, "e"))
    first = feed(lookaside(balancer), snapshot_path=path)
    await first.until_listed("10.0.0.1:80")
    await first.close()
    await asyncio.to_thread(balancer.stop)
    second = feed(lookaside(balancer), snapshot_path=path, fallback="static:///10.9.9.9:80")
    await second.until_listed("10.0.0.1:80")
    await second.until(lambda: len(second.losses) >= 2)
    assert second.addresses == ["10.0.0.1:80"]
    assert second.watch.failure is None
    assert second.watch.current is not None
    assert second.watch.current.endpoints[0].weight == 7


async def test_the_list_from_the_disk_is_named_as_known_and_replaced(
    balancer: Balancer, feed: FeedFactory, tmp_path: Path
) -> None:
    path = tmp_path / "list.json"
    balancer.say(["10.0.0.1:80"], revision=("a", 1, "e"))
    first = feed(lookaside(balancer), snapshot_path=path)
    await first.until_listed("10.0.0.1:80")
    await first.close()
    balancer.say(["10.0.0.2:80"], revision=("b", 2, "e"))
    second = feed(lookaside(balancer), snapshot_path=path)
    await second.until_listed("10.0.0.2:80")
    assert second.named == [Revision("a", 1, "e")]
    await second.close()
    assert json.loads(path.read_text())["revision"]["digest"] == "b"


async def test_a_file_of_another_target_is_left_alone_until_there_is_a_list(
    balancer: Balancer, feed: FeedFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "list.json"
    path.write_text('{"format": 1, "target": "lookaside://lb:1/other", "endpoints": []}')
    balancer.say(["10.0.0.1:80"])
    with caplog.at_level(logging.WARNING, "client_resolver"):
        one = feed(lookaside(balancer), snapshot_path=path)
        await one.until_listed("10.0.0.1:80")
    assert "is of the target 'lookaside://lb:1/other'" in caplog.text
    await one.close()
    assert json.loads(path.read_text())["target"] == lookaside(balancer)


async def test_a_list_that_changes_often_is_written_once_a_second_and_at_the_end(
    balancer: Balancer, feed: FeedFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    first = threading.Event()

    def save(self: CacheFile, current: Any) -> None:
        written.append(len(current.endpoints))
        first.set()

    monkeypatch.setattr(CacheFile, "save", save)
    balancer.say(["10.0.0.1:80"])
    began = monotonic()
    one = feed(lookaside(balancer), snapshot_path=tmp_path / "list.json")
    assert await asyncio.to_thread(first.wait, BOUND)
    addresses = ["10.0.0.1:80"]
    for number in range(2, 30):
        addresses.append(f"10.0.0.{number}:80")
        balancer.say(addresses)
        await one.until(lambda: len(one.addresses or ()) == len(addresses))
    await one.close()
    assert written[0] == 1
    assert written[-1] == 29
    assert len(written) <= 2 + (monotonic() - began)


async def test_a_fallbacks_list_is_never_written(
    nobody: str, feed: FeedFactory, tmp_path: Path
) -> None:
    path = tmp_path / "list.json"
    one = feed(lookaside(nobody), fallback="static:///10.0.0.1:80", snapshot_path=path)
    await one.until_listed("10.0.0.1:80")
    await one.close()
    assert not path.exists()


# Resolvers of the user's own


async def test_a_users_resolver_is_asked_for_its_targets(feed: FeedFactory) -> None:
    asked: list[str] = []

    def resolve(target: str) -> Answer:
        asked.append(target)
        return ["10.0.0.1:80", Server("10.0.0.2:80", weight=5, zone="eu-1a")]

    one = feed("consul://agent/web", resolvers={"consul": resolve})
    await one.until_listed("10.0.0.1:80", "10.0.0.2:80")
    assert asked == ["consul://agent/web"]
    assert one.watch.current is not None
    assert [e.weight for e in one.watch.current.endpoints] == [1, 5]


async def test_a_users_resolver_may_wait_without_holding_up_the_channel(feed: FeedFactory) -> None:
    gate = threading.Event()

    def resolve(target: str) -> Answer:
        assert gate.wait(BOUND)
        return ["10.0.0.1:80"]

    one = feed("consul:///web", resolvers={"consul": resolve})
    assert one.addresses is None
    gate.set()
    await one.until_listed("10.0.0.1:80")


async def test_what_a_users_resolver_raises_is_told_and_the_last_list_kept(
    feed: FeedFactory,
) -> None:
    answers: list[Any] = [["10.0.0.1:80"]]

    def resolve(target: str) -> Answer:
        if not answers:
            raise KeyError("web")
        result: Answer = answers.pop()
        return result

    one = feed("consul:///web", resolvers={"consul": resolve}, refresh_interval=0.05)
    await one.until(lambda: len(one.losses) >= 2)
    assert "resolver 'consul' is lost (UNAVAILABLE: KeyError: 'web')" in one.losses[0]
    assert one.addresses == ["10.0.0.1:80"]


async def test_a_backend_that_a_users_resolver_misspells_is_told_once(
    feed: FeedFactory, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "client_resolver"):
        one = feed(
            "consul:///web",
            resolvers={"consul": lambda target: ["10.0.0.1:80", "nonsense"]},
            refresh_interval=0.02,
        )
        await one.until(lambda: one.lists >= 5)
    assert [record.getMessage() for record in caplog.records] == [
        "consul:///web: set aside: 'nonsense' is not HOST:PORT"
    ]


async def test_a_coroutine_function_is_a_resolver_where_there_is_a_loop(
    shell: str, feed: FeedFactory
) -> None:
    async def resolve(target: str) -> Answer:
        return ["10.0.0.1:80"]

    one = feed("consul:///web", resolvers={"consul": resolve})
    if shell == "aio":
        await one.until_listed("10.0.0.1:80")
    else:
        await one.until(lambda: bool(one.losses))
        assert "a resolver in client_resolver.aio alone" in one.losses[0]


# The end


@pytest.mark.parametrize("target", ["lookaside", "dns", "static", "custom"])
async def test_nothing_of_a_resolution_outlives_it(
    target: str, balancer: Balancer, names: Names, feed: FeedFactory, tmp_path: Path
) -> None:
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    names.set("greeter.shop", ["10.0.0.1"])
    balancer.say(["10.0.0.1:80"])
    texts = {
        "lookaside": lookaside(balancer),
        "dns": "dns:///greeter.shop:80",
        "static": "static:///10.0.0.1:80",
        "custom": "consul:///web",
    }
    keywords: dict[str, Any] = {"fallback": "dns:///greeter.shop:80"} if target[0] == "l" else {}
    one = feed(
        texts[target],
        resolvers={"consul": lambda _: ["10.0.0.1:80"]},
        snapshot_path=tmp_path / "list.json",
        **keywords,
    )
    await one.until_listed("10.0.0.1:80")
    await one.close()
    # grpc's own tasks for a call that was cancelled end a moment later.
    await eventually(lambda: asyncio.all_tasks() <= tasks)
    left = set(threading.enumerate()) - threads
    assert not [thread.name for thread in left if thread.name.startswith("lookaside")]


async def test_a_resolution_that_waits_for_a_balancer_ends_at_once(
    nobody: str, feed: FeedFactory
) -> None:
    one = feed(lookaside(nobody), watch_backoff=(NEVER, NEVER))
    await one.until(lambda: bool(one.losses))
    async with asyncio.timeout(60):
        await one.close()


# Channels


async def test_an_rpc_goes_to_what_a_name_stands_for(
    backend: Callable[..., Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    assert await connect(f"dns:///localhost:{server.port}").port() == server.port


async def test_the_certificate_of_a_name_is_checked_against_the_name(
    backend: Callable[..., Backend],
    connect: Callable[..., Client],
    authority: trustme.CA,
    names: Names,
) -> None:
    issued = authority.issue_cert("greeter.shop")
    key, chain = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    server = backend(grpc.ssl_server_credentials([(key, chain)]))
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    names.set("greeter.shop", ["127.0.0.1"])
    names.set("greeter.other", ["127.0.0.1"])
    client = connect(f"dns:///greeter.shop:{server.port}", credentials=credentials)
    assert await client.port() == server.port
    other = connect(f"dns:///greeter.other:{server.port}", credentials=credentials)
    with pytest.raises(grpc.RpcError) as caught:
        await other.unary(timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_name_is_looked_up_again_when_its_backends_cannot_be_reached(
    shell: str,
    names: Names,
    backend: Callable[..., Backend],
    connect: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasty = partial(Polling, gap=0.05)
    monkeypatch.setattr(f"client_resolver.{shell}.resolution.Polling", hasty)
    server = backend()
    # Nobody listens there.
    names.set("greeter.shop", ["127.0.0.9"])
    client = connect(f"dns:///greeter.shop:{server.port}", refresh_interval=NEVER)
    call = client.start("unary_unary", "Unary", b"x", wait_for_ready=True, timeout=BOUND)
    await names.until_looked("greeter.shop", 1)
    names.set("greeter.shop", ["127.0.0.1"])
    assert await call.response() == b"x"


async def test_a_channel_looks_up_a_name_again_when_asked_to(
    names: Names, backend: Callable[..., Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    names.set("greeter.shop", ["127.0.0.1"])
    client = connect(f"dns:///greeter.shop:{server.port}", refresh_interval=NEVER)
    await client.port()
    client.channel.resolve_now()
    await names.until_looked("greeter.shop", 2)


async def test_an_rpc_to_a_name_that_is_not_found_says_so(
    names: Names, connect: Callable[..., Client]
) -> None:
    names.set("greeter.shop", NOT_FOUND)
    with pytest.raises(grpc.RpcError) as caught:
        await connect("dns:///greeter.shop:80").unary(timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    details = str(caught.value.details())
    assert "dns:///greeter.shop:80: DNS name greeter.shop:80 gives no list" in details
    assert "Name or service not known" in details


async def test_an_rpc_goes_to_the_fallback_while_the_balancer_is_down(
    nobody: str, backend: Callable[..., Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    client = connect(lookaside(nobody), fallback=f"dns:///localhost:{server.port}")
    call = client.start("unary_unary", "Unary", b"x", wait_for_ready=True, timeout=BOUND)
    assert await call.response() == b"x"


@pytest.mark.parametrize("looked_up", [False, True])
async def test_the_first_rpcs_go_to_the_fallback_though_the_balancer_refuses_connections(
    looked_up: bool,
    nobody: str,
    names: Names,
    backend: Callable[..., Backend],
    connect: Callable[..., Client],
) -> None:
    server = backend()
    names.set("greeter.shop", ["127.0.0.1"])
    fallback = f"dns:///greeter.shop:{server.port}" if looked_up else f"static:///{server.address}"
    clients = [connect(lookaside(nobody), fallback=fallback) for _ in range(20)]
    answers = await asyncio.gather(*(one.unary(timeout=BOUND) for one in clients))
    assert answers == [b"x"] * 20


@pytest.mark.parametrize("code", ["UNAVAILABLE", "PERMISSION_DENIED", None])
async def test_the_first_rpc_goes_to_the_fallback_though_the_balancer_has_no_list_to_give(
    code: str | None,
    balancer: Balancer,
    backend: Callable[..., Backend],
    connect: Callable[..., Client],
) -> None:
    server = backend()
    if code is None:
        balancer.say(state="STATE_STALE")
    else:
        balancer.fail(grpc.StatusCode[code], "not you")
    client = connect(balancer, fallback=f"static:///{server.address}")
    assert await client.unary(timeout=BOUND) == b"x"


async def test_an_rpc_that_neither_balancer_nor_fallback_can_serve_says_why_of_both(
    nobody: str, names: Names, connect: Callable[..., Client]
) -> None:
    names.set("greeter.shop", NOT_FOUND)
    with pytest.raises(grpc.RpcError) as caught:
        await connect(lookaside(nobody), fallback="dns:///greeter.shop:80").unary(timeout=BOUND)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    details = str(caught.value.details())
    assert f"balancer {nobody} gives no list: UNAVAILABLE: " in details
    assert "the fallback can't be used: gaierror: [Errno -2] Name or service not known" in details


async def test_an_rpc_goes_to_the_list_from_the_disk_while_the_balancer_is_down(
    balancer: Balancer,
    backend: Callable[..., Backend],
    connect: Callable[..., Client],
    tmp_path: Path,
) -> None:
    server, path = backend(), tmp_path / "list.json"
    balancer.say([server.address])
    first = connect(balancer, snapshot_path=path)
    await first.port()
    await first.close()
    await asyncio.to_thread(balancer.stop)
    second = connect(balancer, snapshot_path=path)
    assert await second.port() == server.port


async def test_the_example_of_a_resolver_works(
    backend: Callable[..., Backend], tmp_path: Path
) -> None:
    server, path = backend(), tmp_path / "greeters"
    path.write_text(f"{server.address}\n")
    example = str(resolver.__doc__).partition("```python")[2].partition("```")[0]
    assert "/etc/greeters" in example
    names: dict[str, Any] = {}
    exec(example.replace("/etc/greeters", str(path)), names)
    with names["channel"] as channel:
        call = EchoStub(channel).Unary
        assert await asyncio.to_thread(call, Message(), timeout=BOUND) == Message()


async def test_a_channel_closes_at_once_though_its_fallback_has_just_become_wanted(
    nobody: str, connect: Callable[..., Client]
) -> None:
    client = connect(lookaside(nobody), fallback=f"static:///{nobody}")
    with pytest.raises(grpc.RpcError):
        await client.unary(timeout=BOUND)
    async with asyncio.timeout(BOUND):
        await client.close()


async def test_a_channel_closes_though_its_resolver_swallows_cancellations(
    shell: str, connect: Callable[..., Client]
) -> None:
    if shell == "sync":
        pytest.skip("a coroutine function is a resolver in client_resolver.aio alone")
    asked = asyncio.Event()

    async def stubborn(target: str) -> Answer:
        asked.set()
        try:
            await asyncio.sleep(NEVER)
        except asyncio.CancelledError:
            return []
        return []

    client = connect("mine://x", resolvers={"mine": stubborn})
    call = client.start("unary_unary", "Unary", b"x", timeout=BOUND)
    await asked.wait()
    async with asyncio.timeout(BOUND):
        await client.close()
    assert await call.code() is grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}", "unix-abstract:lookaside-{pid}"])
async def test_a_static_target_reaches_a_socket_of_this_machine(
    form: str,
    backend: Callable[..., Backend],
    connect: Callable[..., Client],
    tmp_path: Path,
) -> None:
    name = form.format(tmp_path / "s", pid=os.getpid())
    # Not beside other tests' in the machine's one space of names.
    name = f"{name}-{id(tmp_path)}"
    server = grpc.server(ThreadPoolExecutor(4))
    echo_pb2_grpc.add_EchoServicer_to_server(backend().servicer, server)
    server.add_insecure_port(name)
    server.start()
    try:
        client = connect(f"static:///{name}")
        assert await client.unary(timeout=BOUND) == b"x"
        [one] = client.channel.snapshot().backends
        assert one.address == name.replace("unix://", "unix:")
    finally:
        await asyncio.to_thread(server.stop(None).wait)


async def test_a_socket_of_this_machine_that_a_balancer_lists_is_set_aside(
    balancer: Balancer, backend: Callable[..., Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    balancer.say(["unix:/run/docker.sock", "unix-abstract:x", server.address])
    client = connect(balancer)
    assert await client.port() == server.port
    assert [one.address for one in client.channel.snapshot().backends] == [server.address]


async def test_an_rpc_to_a_socket_that_is_not_there_names_it(
    connect: Callable[..., Client], tmp_path: Path
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await connect(f"static:///unix:{tmp_path}/none").unary(timeout=BOUND)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert f"unix:{tmp_path}/none" in str(caught.value.details())
