"""Rebuilds services that were touched: in steps, and large ones at their own pace."""

from collections.abc import Callable, Iterator
from itertools import chain

from msgspec import Struct

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.steps import Steps, Worker
from lookaside.sources.kubernetes.index import Batch, Index

_PORTION = 50
"""Services that are published in one step."""


class _Touch(Struct, frozen=True):
    """The changes that have touched a service since it was last rebuilt.

    Attributes:
        number: Counts the times at which touched services were taken: that of the first.
        bound: The version up to which the service holds without it.
        version: The version of the last.
        at: When the first was received, in seconds of the clock.
    """

    number: int
    bound: int
    version: int
    at: float


class _Queue:
    """Touched services that wait to be made, and those that are at work or wait to be published."""

    __slots__ = ("at_work", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[ServiceKey, _Touch] = {}
        self.at_work: dict[ServiceKey, _Touch] = {}

    def __contains__(self, key: ServiceKey) -> bool:
        return key in self.waiting or key in self.at_work

    def __iter__(self) -> Iterator[ServiceKey]:
        return chain(self.waiting, self.at_work)

    def touches(self) -> Iterator[_Touch]:
        return chain(self.waiting.values(), self.at_work.values())

    def begin(self, key: ServiceKey) -> _Touch:
        """Take a service as it is now for one that is at work."""
        touch = self.waiting.pop(key)
        self.at_work.setdefault(key, touch)
        return touch

    def clear(self) -> None:
        self.waiting.clear()
        self.at_work.clear()


class Merging:
    """Rebuilds services that were touched, and has them published.

    Small ones are made together. A large one is made by itself and rests for a multiple of what
    that has cost: what touches it meanwhile is made once.

    Args:
        index: What is held of the cluster.
        worker: Does it in steps.
        publish: Publishes services; given when the first of what changed them was received.
        fail: Called with the error of what could not be done.
    """

    def __init__(
        self,
        index: Index,
        worker: Worker,
        *,
        publish: Callable[[Batch, float], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._index = index
        self._worker = worker
        self._publish = publish
        self._fail = fail
        self._number = 0
        # A service is in one of them alone, so that what is made of it is published in order.
        self._small = _Queue()
        self._large = _Queue()
        self._barriers: list[tuple[int, Callable[[], None]]] = []
        self._span = 0

    @property
    def pending(self) -> set[ServiceKey]:
        """The services whose newer state is still to be published."""
        return {*self._small, *self._large}

    @property
    def bound(self) -> int | None:
        """The version up to which all services hold as they were published; None: all of it."""
        return min((touch.bound for touch in self._touches()), default=None)

    def take(self, *, bound: int, at: float) -> None:
        """Have everything made that was touched since the last time.

        Args:
            bound: The version up to which all held without it.
            at: When it was received first, in seconds of the clock.
        """
        self._number += 1
        for key, version in self._index.take().items():
            own = key in self._large or (key not in self._small and self._index.is_large(key))
            waiting = (self._large if own else self._small).waiting
            first = waiting.get(key) or _Touch(self._number, bound, 0, at)
            waiting[key] = _Touch(first.number, first.bound, max(first.version, version), first.at)
            if own:
                self._ask_large(key)
        if self._small.waiting:
            self._worker.ask((self, ""), self._making_small, rests=False)

    def after(self, then: Callable[[], None]) -> None:
        """Call once all that was taken until now has been published."""
        self._barriers.append((self._number, then))
        self._lift()

    def forget(self) -> None:
        """Forget what is pending: nothing of it is published any more."""
        self._span += 1
        self._small.clear()
        self._large.clear()
        self._barriers.clear()

    def _touches(self) -> Iterator[_Touch]:
        return chain(self._small.touches(), self._large.touches())

    def _ask_large(self, key: ServiceKey) -> None:
        self._worker.ask((self, key), lambda: self._making_large(key))

    def _making_small(self) -> Steps[None]:
        span, small = self._span, self._small
        made: dict[ServiceKey, ServiceRecord | None] = {}
        versions: dict[ServiceKey, int] = {}
        try:
            while span == self._span and small.waiting:
                key = next(iter(small.waiting))
                versions[key] = small.begin(key).version
                made[key] = yield from self._index.recording(key)
                if len(made) >= _PORTION or not small.waiting:
                    self._done(small, Batch(made, versions), span)
                    made, versions = {}, {}
                yield 0
        except Exception as error:  # noqa: BLE001 (told to who runs the source)
            self._fail(error)

    def _making_large(self, key: ServiceKey) -> Steps[None]:
        span, large = self._span, self._large
        if key not in large.waiting:
            return
        version = large.begin(key).version
        try:
            record = yield from self._index.recording(key)
            self._done(large, Batch({key: record}, {key: version}), span)
        except Exception as error:  # noqa: BLE001 (told to who runs the source)
            self._fail(error)

    def _done(self, queue: _Queue, batch: Batch, span: int) -> None:
        if span != self._span:
            return
        at = min(queue.at_work.pop(key).at for key in batch.changes)
        self._publish(batch, at)
        self._lift()

    def _lift(self) -> None:
        """Call what waited for services that have now been published."""
        if not self._barriers:
            return
        first = min((touch.number for touch in self._touches()), default=self._number + 1)
        lifted = [then for number, then in self._barriers if number < first]
        self._barriers = [one for one in self._barriers if one[0] >= first]
        for then in lifted:
            then()
