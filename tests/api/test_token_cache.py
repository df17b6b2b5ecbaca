"""What is known of tokens, on a clock of its own."""

import asyncio
import base64
from dataclasses import dataclass, field

import pytest
import structlog
from structlog.testing import capture_logs

from lookaside.api.token_cache import BAD_FOR, GOOD_FOR, SKEW, FairSlots, TokenCache
from lookaside.errors import IdentityUnverified, SourceError
from lookaside.model import ServiceAccount
from tests.jwt import jwt, subject

CART = ServiceAccount("shop", "cart")
WALL = 1_700_000_000.0


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL + self.now


@dataclass
class Reviewer:
    """Counts what it is asked, and answers when it may.

    Attributes:
        asked: The tokens, in order.
        good: Whom tokens were given to.
        failure: What to raise in the place of an answer.
        go: Unset to hold answers back.
    """

    asked: list[str] = field(default_factory=list)
    good: dict[str, ServiceAccount] = field(default_factory=dict)
    failure: Exception | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    under_way: int = 0
    most: int = 0

    async def review(self, token: str) -> ServiceAccount | None:
        token = subject(token) or token
        self.asked.append(token)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.entered.release()
        try:
            await self.go.wait()
        finally:
            self.under_way -= 1
        if self.failure is not None:
            raise self.failure
        return self.good.get(token)


class Cache(TokenCache):
    """Takes a token's subject for it."""

    async def review(self, token: str, host: str = "") -> ServiceAccount | None:
        return await super().review(token if "." in token else jwt(sub=token), host)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reviewer() -> Reviewer:
    reviewer = Reviewer()
    reviewer.go.set()
    return reviewer


@pytest.fixture
def cache(clock: Clock, reviewer: Reviewer) -> Cache:
    return Cache(reviewer, "lb", clock=clock, now=clock.wall, good=3, bad=2)


@pytest.mark.parametrize(
    ("token", "seconds"),
    [
        (jwt(), GOOD_FOR),
        (jwt(aud="lb"), GOOD_FOR),
        (jwt(aud=["other", "lb"]), GOOD_FOR),
        (jwt(exp=int(WALL) + 100 + 3600), GOOD_FOR),
        (jwt(exp=int(WALL) + 100 + 20), 20.0),
        (jwt(exp=WALL + 100 + 0.5), 0.5),
    ],
)
async def test_a_good_token_is_good_for_a_minute_and_not_beyond_its_end(
    clock: Clock, reviewer: Reviewer, cache: Cache, token: str, seconds: float
) -> None:
    reviewer.good[token] = CART

    for after in (0.0, seconds - 0.25):
        clock.now = 100 + after
        assert await cache.review(token) == CART
    assert len(reviewer.asked) == 1

    clock.now = 100 + seconds
    assert await cache.review(token) == CART
    assert len(reviewer.asked) == 2


async def test_a_token_that_has_just_ended_by_the_clock_here_is_asked_for_each_time(
    reviewer: Reviewer, cache: Cache
) -> None:
    token = jwt(exp=WALL + 100 - SKEW + 1)
    reviewer.good[token] = CART

    assert [await cache.review(token) for _ in range(2)] == [CART, CART]
    assert len(reviewer.asked) == 2


@pytest.mark.parametrize(
    "payload",
    [
        b'{"exp":' + b"[" * 100_000,
        b'{"deep":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"aud":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"exp":' + b"9" * 500 + b"}",
        b'{"exp":1e999}',
        b'{"exp":-1e308}',
        b"\xff",
        b"null",
    ],
)
async def test_whatever_a_token_holds_it_is_good_or_bad(
    reviewer: Reviewer, cache: Cache, payload: bytes
) -> None:
    header, _, signature = jwt().split(".")
    deep, plain = (base64.urlsafe_b64encode(one).decode() for one in (payload, b"{}"))
    for token in (f"{header}.{deep}.{signature}", f"{deep}.{plain}.{signature}"):
        # Though the API server should take it.
        reviewer.good[token] = CART
        assert await cache.review(token) in (CART, None)


async def test_a_bad_token_is_bad_for_a_few_seconds(
    clock: Clock, reviewer: Reviewer, cache: Cache
) -> None:
    assert [await cache.review("x") for _ in range(3)] == [None, None, None]
    assert len(reviewer.asked) == 1

    clock.now += BAD_FOR
    reviewer.good["x"] = CART
    assert await cache.review("x") == CART


async def test_a_token_that_is_taken_back_is_bad_within_a_minute(
    clock: Clock, reviewer: Reviewer, cache: Cache
) -> None:
    reviewer.good["x"] = CART
    await cache.review("x")
    del reviewer.good["x"]

    assert await cache.review("x") == CART
    clock.now += GOOD_FOR
    assert await cache.review("x") is None


async def test_what_was_used_last_is_kept(reviewer: Reviewer, cache: Cache) -> None:
    reviewer.good = {name: ServiceAccount("shop", name) for name in "abcd"}
    for name in "abcad":
        await cache.review(name)
    reviewer.asked.clear()

    for name in "acd":
        await cache.review(name)
    assert reviewer.asked == []
    await cache.review("b")
    assert reviewer.asked == ["b"]
    assert repr(cache) == "<TokenCache 3 good, 0 bad, 0 under review>"


async def test_bad_tokens_never_displace_good_ones(reviewer: Reviewer, cache: Cache) -> None:
    reviewer.good["a"] = CART
    for name in ("a", *map(str, range(50))):
        await cache.review(name)
    reviewer.asked.clear()

    await cache.review("a")
    assert reviewer.asked == []
    assert repr(cache) == "<TokenCache 1 good, 2 bad, 0 under review>"


async def test_of_reviews_of_one_token_one_runs(reviewer: Reviewer, cache: Cache) -> None:
    reviewer.good["a"] = CART
    reviewer.go.clear()
    waiting = [asyncio.create_task(cache.review("a")) for _ in range(20)]
    await reviewer.entered.acquire()
    reviewer.go.set()

    assert await asyncio.gather(*waiting) == [CART] * 20
    assert reviewer.asked == ["a"]


async def test_a_caller_who_leaves_takes_nothing_from_the_others(
    reviewer: Reviewer, cache: Cache
) -> None:
    reviewer.good["a"] = CART
    reviewer.go.clear()
    first, second = (asyncio.create_task(cache.review("a")) for _ in range(2))
    await reviewer.entered.acquire()
    first.cancel()
    await asyncio.wait([first])
    reviewer.go.set()

    assert await second == CART
    assert first.cancelled()
    assert reviewer.asked == ["a"]


async def test_a_review_ends_with_the_last_who_waits_for_it(
    reviewer: Reviewer, cache: Cache
) -> None:
    reviewer.good["a"] = CART
    reviewer.go.clear()
    gone = asyncio.create_task(cache.review("a"))
    await reviewer.entered.acquire()
    gone.cancel()
    await asyncio.wait([gone])
    assert repr(cache) == "<TokenCache 0 good, 0 bad, 0 under review>"

    reviewer.go.set()
    assert await cache.review("a") == CART
    assert (reviewer.asked, reviewer.under_way) == (["a", "a"], 0)


async def test_no_more_reviews_run_at_once_than_the_api_server_is_asked_for(
    clock: Clock, reviewer: Reviewer
) -> None:
    cache = Cache(reviewer, "lb", clock=clock, now=clock.wall)
    reviewer.go.clear()
    waiting = [asyncio.create_task(cache.review(str(each), str(each % 4))) for each in range(100)]
    for _ in range(32):
        await reviewer.entered.acquire()
    reviewer.go.set()

    assert await asyncio.gather(*waiting) == [None] * 100
    assert reviewer.most == 32


@pytest.fixture
def _plain_logs() -> None:
    structlog.reset_defaults()


@pytest.mark.usefixtures("_plain_logs")
async def test_an_api_server_that_is_gone_is_no_refusal_and_what_was_good_holds(
    clock: Clock, reviewer: Reviewer, cache: Cache
) -> None:
    reviewer.good["known"] = CART
    await cache.review("known")
    reviewer.failure = SourceError("the API server can't be reached: 10.0.0.1")

    with capture_logs() as lines:
        for token in ("new", "new", "other"):
            with pytest.raises(IdentityUnverified, match="tokens can't be checked now; try again"):
                await cache.review(token)
        assert await cache.review("known") == CART
        reviewer.failure = None
        assert await cache.review("new") is None

    assert [(line["log_level"], line["event"], line.get("reason", "")) for line in lines] == [
        ("error", "tokens can't be checked", "the API server can't be reached: 10.0.0.1"),
        ("info", "tokens can be checked again", ""),
    ]
    assert reviewer.asked == ["known", "new", "new", "other", "new"]


async def test_a_failure_is_told_to_all_who_wait(reviewer: Reviewer, cache: Cache) -> None:
    reviewer.failure = SourceError("gone")
    reviewer.go.clear()
    waiting = [asyncio.create_task(cache.review("a")) for _ in range(3)]
    await reviewer.entered.acquire()
    reviewer.go.set()

    for each in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(each, IdentityUnverified)


@pytest.mark.parametrize(
    "token",
    [
        "a.b",
        "a.!!.c",
        "a.b.c.d",
        "..",
        jwt().replace("c2ln", ""),
        "e30.W10.c2ln",
        "e30." + "W1tb" * 3_000 + ".c2ln",
        "\udcff.e30.c2ln",
        jwt(exp="soon"),
        jwt(exp=WALL + 100 - SKEW),
        jwt(aud="other"),
        jwt(aud=[]),
        jwt(aud=7),
    ],
)
async def test_what_can_be_seen_to_be_bad_is_not_asked_for(
    reviewer: Reviewer, cache: Cache, token: str
) -> None:
    assert await cache.review(token) is None
    assert reviewer.asked == []


async def test_hosts_take_turns_and_what_is_known_waits_for_nobody(
    clock: Clock, reviewer: Reviewer
) -> None:
    cache = Cache(reviewer, "lb", clock=clock, now=clock.wall)
    reviewer.good = {"known": CART, "new": CART}
    await cache.review("known")
    reviewer.go.clear()
    flood = [asyncio.create_task(cache.review(f"bad{n}", "attacker")) for n in range(400)]
    await asyncio.sleep(0)
    good = asyncio.create_task(cache.review("new", "good"))
    await asyncio.sleep(0)
    assert await cache.review("known", "attacker") == CART
    async with asyncio.timeout(20):
        while "new" not in reviewer.asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
    # Of 32 slots an attacker has half at most, so that there is one at once.
    assert reviewer.asked == ["known", *(f"bad{n}" for n in range(16)), "new"]
    reviewer.go.set()
    assert await good == CART
    await asyncio.gather(*flood)


async def test_no_more_of_one_host_wait_than_there_is_room_for(
    clock: Clock, reviewer: Reviewer
) -> None:
    cache = Cache(reviewer, "lb", clock=clock, now=clock.wall)
    reviewer.go.clear()
    flood = [asyncio.create_task(cache.review(f"bad{n}", "attacker")) for n in range(600)]
    done, waiting = await asyncio.wait(flood, return_when=asyncio.FIRST_EXCEPTION)
    assert len(waiting) == 516
    for task in done:
        with pytest.raises(IdentityUnverified, match="too many tokens of this host"):
            task.result()
    reviewer.go.set()
    await asyncio.gather(*waiting)


async def test_a_slot_is_not_lost_with_who_waits_for_it() -> None:
    slots = FairSlots(1, 1, 10)

    async def hold(host: str, go: asyncio.Event) -> None:
        async with slots.slot(host):
            await go.wait()

    go = asyncio.Event()
    first = asyncio.create_task(hold("a", go))
    await asyncio.sleep(0)
    for granted in (False, True):
        second = asyncio.create_task(hold("b", asyncio.Event()))
        await asyncio.sleep(0)
        if granted:
            go.set()
            await first
        second.cancel()
        await asyncio.wait([second])
    async with asyncio.timeout(20), slots.slot("c"):
        pass
    assert repr(slots) == "<FairSlots 1 free, 0 hosts have some, 0 hosts wait>"
