"""A cache of token reviews.

Ten thousand clients that come back at once, each with the token of its Pod, must not ask the API
server more than once for each; and one that goes on with a bad token, not at all for a while. What
can be seen to be bad is never asked for, and hosts take turns, so that one that shows thousands of
tokens delays itself.
"""

import asyncio
import base64
import hashlib
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

from lookaside.api.authorization import TokenReviewer
from lookaside.errors import IdentityUnverified, SourceError
from lookaside.logging import get_logger
from lookaside.model import ServiceAccount

GOOD_FOR = 60.0
BAD_FOR = 5.0

SKEW = 60.0
"""Seconds by which the clock here may be ahead of the API server's."""

_AT_ONCE = 32
_PER_HOST = 16
_WAITING = 500

_log = get_logger("tokens")


class _Claims(Struct):
    """The registered claims of RFC 7519 that are looked at."""

    exp: float | None = None
    aud: str | list[str] | None = None


class FairSlots:
    """A number of slots, for which hosts wait in turns, each for its own in order.

    Args:
        slots: How many there are.
        per_host: How many of them one host has at most.
        waiting: How many of one host wait at most.
    """

    def __init__(self, slots: int, per_host: int, waiting: int) -> None:
        self._free = slots
        self._per_host = per_host
        self._most_waiting = waiting
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def __repr__(self) -> str:
        taken, waiting = len(self._taken), len(self._waiting)
        return f"<FairSlots {self._free} free, {taken} hosts have some, {waiting} hosts wait>"

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        """Have a slot inside.

        Raises:
            IdentityUnverified: Too many of this host wait already.
        """
        await self._acquire(host)
        try:
            yield
        finally:
            self._release(host)

    async def _acquire(self, host: str) -> None:
        queue = self._waiting.setdefault(host, deque())
        if len(queue) >= self._most_waiting:
            raise IdentityUnverified("too many tokens of this host wait to be checked; try again")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # It was granted in the same moment.
                self._release(host)
            else:
                queue.remove(turn)
                if not queue:
                    del self._waiting[host]
            raise

    def _release(self, host: str) -> None:
        self._free += 1
        self._taken[host] -= 1
        if not self._taken[host]:
            del self._taken[host]
        self._grant()

    def _grant(self) -> None:
        """Give free slots to the hosts whose turn it is."""
        for host in list(self._waiting):
            if not self._free:
                return
            if self._taken[host] >= self._per_host:
                continue
            queue = self._waiting[host]
            turn = queue.popleft()
            if queue:
                self._waiting.move_to_end(host)
            else:
                del self._waiting[host]
            self._free -= 1
            self._taken[host] += 1
            turn.set_result(None)


class _Answers:
    """The answers that were used last, each until its time. Keys are hashes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: OrderedDict[bytes, tuple[float, ServiceAccount | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes, now: float) -> tuple[ServiceAccount | None] | None:
        """Return the answer in a tuple of its own, None where there is none."""
        held = self._held.get(key)
        if held is None:
            return None
        until, account = held
        if until <= now:
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return (account,)

    def put(self, key: bytes, account: ServiceAccount | None, until: float) -> None:
        self._held[key] = (until, account)
        self._held.move_to_end(key)
        if len(self._held) > self._capacity:
            self._held.popitem(last=False)


class _Review:
    """A review under way, and how many wait for it."""

    def __init__(self, task: asyncio.Task[ServiceAccount | None]) -> None:
        self.task = task
        self.waiting = 0


class TokenCache:
    """A `TokenReviewer` that remembers what another one says.

    A good token is taken as good for `GOOD_FOR` seconds and never beyond its own end, a bad one as
    bad for `BAD_FOR` seconds. What is bad never displaces what is good. Of reviews of the same
    token one runs; it ends when nobody waits for it any more.

    Args:
        reviewer: The one that is asked.
        audience: The audience that tokens must have.
        clock: Seconds of a monotonic clock.
        now: Seconds since 1970, the unit of a token's expiry.
        good: How many good tokens are remembered.
        bad: How many bad ones.
    """

    def __init__(
        self,
        reviewer: TokenReviewer,
        audience: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        good: int = 20_000,
        bad: int = 1_000,
    ) -> None:
        self._reviewer = reviewer
        self._audience = audience
        self._clock = clock
        self._now = now
        self._good = _Answers(good)
        self._bad = _Answers(bad)
        self._reviews: dict[bytes, _Review] = {}
        self._slots = FairSlots(_AT_ONCE, _PER_HOST, _WAITING)
        self._failing = ""

    def __repr__(self) -> str:
        return (
            f"<TokenCache {len(self._good)} good, {len(self._bad)} bad, {len(self._reviews)} under "
            f"review{', failing' if self._failing else ''}>"
        )

    async def review(self, token: str, host: str = "") -> ServiceAccount | None:
        """Return whom a token was given to; None if it is not good.

        Args:
            token: The token.
            host: Who shows it: hosts take turns. What is known of a token waits for nobody.

        Raises:
            IdentityUnverified: Nothing is known of it, and the API server can't be asked, or too
                many tokens of this host wait for that.
        """
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = self._clock()
        known = self._good.get(key, now) or self._bad.get(key, now)
        if known is not None:
            return known[0]
        claims = _claims(token)
        if claims is None or not _may_be_good(claims, self._audience, self._now()):
            return None
        review = self._reviews.get(key)
        if review is None:
            review = _Review(asyncio.create_task(self._ask(key, token, host), name="token review"))
            self._reviews[key] = review
            review.task.add_done_callback(lambda _: self._forget(key, review))
        review.waiting += 1
        try:
            return await asyncio.shield(review.task)
        finally:
            review.waiting -= 1
            if not review.waiting and not review.task.done():
                self._forget(key, review)
                review.task.cancel()

    def _forget(self, key: bytes, review: _Review) -> None:
        if self._reviews.get(key) is review:
            del self._reviews[key]

    async def _ask(self, key: bytes, token: str, host: str) -> ServiceAccount | None:
        try:
            async with self._slots.slot(host):
                account = await self._reviewer.review(token)
        except SourceError as error:
            self._fail(str(error))
            raise IdentityUnverified("tokens can't be checked now; try again") from error
        self._fail("")
        at = self._clock()
        if account is None:
            self._bad.put(key, None, at + BAD_FOR)
        else:
            self._good.put(key, account, at + min(GOOD_FOR, _end(token) - self._now()))
        return account

    def _fail(self, reason: str) -> None:
        if reason and reason != self._failing:
            _log.error("tokens can't be checked", reason=reason)
        elif self._failing and not reason:
            _log.info("tokens can be checked again")
        self._failing = reason


def _end(token: str) -> float:
    """Return when a token ends, in seconds since 1970: of one that is good, its own word for it."""
    claims = _claims(token)
    return float("inf") if claims is None or claims.exp is None else claims.exp


def _may_be_good(claims: _Claims, audience: str, now: float) -> bool:
    """Whether what a token says of itself leaves it possible that it is good.

    One that names no audience is for the API server, which may call itself by this one.
    """
    if claims.exp is not None and claims.exp + SKEW <= now:
        return False
    named = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    return named is None or audience in named


def _claims(token: str) -> _Claims | None:
    """Return what a token says of itself; None if it is no JWT (RFC 7519, in the form of RFC 7515).

    The API server gives ServiceAccounts no other tokens.
    """
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        return None
    try:
        header, payload, _ = (_decoded(part) for part in parts)
        msgspec.json.decode(header, type=dict[str, object])
        return msgspec.json.decode(payload, type=_Claims)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None


def _decoded(part: str) -> bytes:
    padded = part + "=" * (-len(part) % 4)
    return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
