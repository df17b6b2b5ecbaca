"""What is known of tokens, for as long as it may be relied on.

Ten thousand clients that come back at once, each with the token of its Pod, must not ask the API
server more than once for each; and one that goes on with a bad token, not at all for a while.
"""

import asyncio
import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from msgspec import Struct

from lookaside.api.authorization import TokenReviewer
from lookaside.errors import IdentityUnverified, SourceError
from lookaside.logging import get_logger
from lookaside.model import ServiceAccount

GOOD_FOR = 60.0
BAD_FOR = 5.0

_AT_ONCE = 32

_log = get_logger("tokens")


class _Claims(Struct):
    exp: float = 0.0


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
        clock: Seconds of a monotonic clock.
        now: Seconds since 1970, which a token's end is told in.
        good: How many good tokens are remembered.
        bad: How many bad ones.
    """

    def __init__(
        self,
        reviewer: TokenReviewer,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        good: int = 20_000,
        bad: int = 1_000,
    ) -> None:
        self._reviewer = reviewer
        self._clock = clock
        self._now = now
        self._good = _Answers(good)
        self._bad = _Answers(bad)
        self._reviews: dict[bytes, _Review] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._failing = ""

    def __repr__(self) -> str:
        return (
            f"<TokenCache {len(self._good)} good, {len(self._bad)} bad, {len(self._reviews)} under "
            f"review{', failing' if self._failing else ''}>"
        )

    async def review(self, token: str) -> ServiceAccount | None:
        """Return whom a token was given to; None if it is not good.

        Raises:
            IdentityUnverified: Nothing is known of it, and the API server can't be asked.
        """
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = self._clock()
        known = self._good.get(key, now) or self._bad.get(key, now)
        if known is not None:
            return known[0]
        review = self._reviews.get(key)
        if review is None:
            review = _Review(asyncio.create_task(self._ask(key, token), name="token review"))
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

    async def _ask(self, key: bytes, token: str) -> ServiceAccount | None:
        try:
            async with self._slots:
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
    _, _, rest = token.partition(".")
    payload, _, _ = rest.partition(".")
    try:
        text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.json.decode(text, type=_Claims).exp or float("inf")
    except (ValueError, msgspec.MsgspecError):
        return float("inf")
