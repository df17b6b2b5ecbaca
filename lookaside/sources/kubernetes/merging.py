"""Rebuilds services that were touched: in steps, and large ones at their own pace."""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.steps import CHUNK, Steps, Worker, finish
from lookaside.sources.kubernetes.index import Batch, Index

_PORTION = 20
"""Services that are published in one step."""


class _Touch(Struct, frozen=True, gc=False):
    """The changes that have touched a service since it was last rebuilt.

    Attributes:
        taken: When it was taken first, as the number of that time.
        version: The version of the last.
    """

    taken: int
    version: int


class _Taken(Struct):
    """What was taken at one time.

    Attributes:
        bound: The version up to which all held without it.
        at: When the first of it was received, in seconds of the clock.
        versions: What is to be sorted yet: the services, and the version of the last touch of each.
        left: How many services of it are still to be published, those of `versions` aside.
    """

    bound: int
    at: float
    versions: dict[ServiceKey, int]
    left: int = 0


class _Queue:
    """Touched services that wait to be made, and those that are at work or wait to be published."""

    __slots__ = ("at_work", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[ServiceKey, _Touch] = {}
        self.at_work: dict[ServiceKey, _Touch] = {}

    def __contains__(self, key: ServiceKey) -> bool:
        return key in self.waiting or key in self.at_work

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
        # By number, the takes whose services are still to be published in part.
        self._taken: dict[int, _Taken] = {}
        self._unsorted: deque[int] = deque()
        # A service is in one of them alone, so that what is made of it is published in order.
        self._small = _Queue()
        self._large = _Queue()
        self._barriers: list[tuple[int, Callable[[], None]]] = []
        self._span = 0

    @property
    def bound(self) -> int | None:
        """The version up to which all services hold as they were published; None: all of it."""
        return min((taken.bound for taken in self._taken.values()), default=None)

    def take(self, *, bound: int, at: float) -> None:
        """Have everything made that was touched since the last time.

        Args:
            bound: The version up to which all held without it.
            at: When it was received first, in seconds of the clock.
        """
        versions = self._index.take()
        self._number += 1
        if not versions:
            return
        self._taken[self._number] = _Taken(bound, at, versions)
        self._unsorted.append(self._number)
        if len(self._unsorted) == 1 and len(versions) <= _PORTION:
            finish(self._sorting_out())
        if self._unsorted or self._small.waiting:
            self._worker.ask((self, ""), self._making_small, rests=False)

    def after(self, then: Callable[[], None]) -> None:
        """Call once all that was taken until now has been published."""
        self._barriers.append((self._number, then))
        self._lift()

    def forget(self) -> None:
        """Forget what is pending: nothing of it is published any more."""
        self._span += 1
        self._taken.clear()
        self._unsorted.clear()
        self._small.clear()
        self._large.clear()
        self._barriers.clear()

    def _sorting_out(self) -> Steps[None]:
        """Put what was taken into the queues, in the order in which it was."""
        while self._unsorted:
            number = self._unsorted[0]
            taken = self._taken[number]
            for _ in range(min(CHUNK, len(taken.versions))):
                self._put(number, *taken.versions.popitem())
            if not taken.versions:
                self._unsorted.popleft()
                self._leave(number, 0)
            yield 0

    def _put(self, number: int, key: ServiceKey, version: int) -> None:
        own = key in self._large or (key not in self._small and self._index.is_large(key))
        waiting = (self._large if own else self._small).waiting
        first = waiting.get(key)
        if first is None:
            waiting[key] = _Touch(number, version)
            self._taken[number].left += 1
        else:
            waiting[key] = _Touch(first.taken, max(first.version, version))
        if own:
            self._worker.ask((self, key), lambda: self._making_large(key))

    def _begin(self, queue: _Queue, key: ServiceKey) -> int:
        """Take a service as it is now for one that is at work; return its version."""
        touch = queue.waiting.pop(key)
        if queue.at_work.setdefault(key, touch) is not touch:
            self._leave(touch.taken, 1)
        return touch.version

    def _leave(self, number: int, count: int) -> None:
        """Count services off that were taken at some time."""
        taken = self._taken[number]
        taken.left -= count
        if not taken.left and not taken.versions:
            del self._taken[number]

    def _making_small(self) -> Steps[None]:
        span, small = self._span, self._small
        made: dict[ServiceKey, ServiceRecord | None] = {}
        versions: dict[ServiceKey, int] = {}
        try:
            while span == self._span and (self._unsorted or small.waiting):
                if self._unsorted:
                    yield from self._sorting_out()
                    continue
                key = next(iter(small.waiting))
                versions[key] = self._begin(small, key)
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
        version = self._begin(large, key)
        try:
            record = yield from self._index.recording(key)
            self._done(large, Batch({key: record}, {key: version}), span)
        except Exception as error:  # noqa: BLE001 (told to who runs the source)
            self._fail(error)

    def _done(self, queue: _Queue, batch: Batch, span: int) -> None:
        if span != self._span:
            return
        numbers = [queue.at_work.pop(key).taken for key in batch.changes]
        at = min(self._taken[number].at for number in numbers)
        for number in numbers:
            self._leave(number, 1)
        self._publish(batch, at)
        self._lift()

    def _lift(self) -> None:
        """Call what waited for services that have now been published."""
        if not self._barriers:
            return
        first = min(self._taken, default=self._number + 1)
        lifted = [then for number, then in self._barriers if number < first]
        self._barriers = [one for one in self._barriers if one[0] >= first]
        for then in lifted:
            then()
