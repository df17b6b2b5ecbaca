"""Circuit breaking."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from client_resolver.core.breaker import Breaker, Limits
from client_resolver.core.model import Code, Failure
from client_resolver.core.slots import Slot

Begin = Callable[[Breaker], Slot | Failure]

KINDS: list[tuple[str, Begin]] = [
    ("requests", Breaker.enter),
    ("pending_requests", Breaker.begin_pending),
    ("retries", Breaker.begin_retry),
]


def begun(breaker: Breaker, begin: Begin) -> Slot:
    slot = begin(breaker)
    assert isinstance(slot, Slot)
    return slot


@pytest.mark.parametrize(("kind", "begin"), KINDS)
def test_as_many_as_the_limit_may_be_under_way(kind: str, begin: Begin) -> None:
    breaker = Breaker(Limits(**{f"max_{kind}": 2}))
    first, second = begun(breaker, begin), begun(breaker, begin)
    refused = Failure(Code.UNAVAILABLE, f"circuit breaker: max_{kind} (2) reached")
    assert begin(breaker) == refused
    first.give_back()
    third = begun(breaker, begin)
    assert begin(breaker) == refused
    for one in (second, third):
        one.give_back()
    begun(breaker, begin)


@pytest.mark.parametrize(("kind", "begin"), KINDS)
def test_a_limit_of_zero_refuses_all(kind: str, begin: Begin) -> None:
    assert isinstance(begin(Breaker(Limits(**{f"max_{kind}": 0}))), Failure)


@pytest.mark.parametrize(("kind", "begin"), KINDS)
def test_without_a_limit_nothing_is_refused(kind: str, begin: Begin) -> None:
    breaker = Breaker(Limits())
    assert len({begun(breaker, begin) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(("kind", "begin"), KINDS)
def test_a_slot_that_is_dropped_or_given_back_twice_counts_out_once(
    kind: str, begin: Begin
) -> None:
    breaker = Breaker(Limits(**{f"max_{kind}": 1}))
    kept = begun(breaker, begin)
    kept.give_back()
    kept.give_back()
    slot: Slot | None = begun(breaker, begin)
    kept.give_back()
    del kept
    assert isinstance(begin(breaker), Failure)
    del slot
    begun(breaker, begin)


def test_a_lower_limit_holds_for_what_comes_and_ends_nothing() -> None:
    breaker = Breaker(Limits(max_requests=3))
    slots = [begun(breaker, Breaker.enter) for _ in range(3)]
    breaker.limits = Limits(max_requests=1)
    assert breaker.requests == 3
    for _ in range(2):
        slots.pop()
        assert isinstance(breaker.enter(), Failure)
    slots.pop()
    begun(breaker, Breaker.enter)


def test_its_repr_tells_the_counts() -> None:
    breaker = Breaker(Limits(max_requests=5))
    slot = begun(breaker, Breaker.enter)
    assert repr(breaker).startswith("<Breaker: 1 requests, 0 pending, 0 retries; Limits(")
    slot.give_back()


def test_all_fields_are_read() -> None:
    config = {"maxConnections": 1, "maxPendingRequests": 2, "maxRequests": "3", "maxRetries": 4.0}
    assert Limits.parse(config) == Limits(1, 2, 3, 4)
    assert Limits.parse({}) == Limits()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"maxConnections": 0}, "^maxConnections is 0: at least 1 is allowed$"),
        ({"maxRequests": -1}, "^maxRequests is -1: at least 0 and at most 4294967295 is allowed$"),
        ({"maxRetries": 1.5}, "^maxRetries is 1.5: a whole number is wanted$"),
        ({"maxPendingRequests": "many"}, "^maxPendingRequests is 'many': "),
    ],
)
def test_a_bad_field_is_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits.parse(config)


@pytest.mark.parametrize(
    ("limits", "bounds"),
    [
        (Limits(), False),
        (Limits(max_connections=1), False),
        (Limits(max_pending_requests=0), True),
        (Limits(max_requests=1), True),
        (Limits(max_retries=1), True),
    ],
)
def test_it_says_whether_rpcs_must_be_counted(limits: Limits, bounds: bool) -> None:
    assert limits.bounds_rpcs is bounds


class BreakerMachine(RuleBasedStateMachine):
    """Whatever comes and goes, and whichever limits hold, the counts are what is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(Limits())
        self.under_way: list[list[Slot]] = [[], [], []]

    @rule(limits=st.tuples(*[st.none() | st.integers(0, 4)] * 3))
    def replace_limits(self, limits: tuple[int | None, int | None, int | None]) -> None:
        requests, pending, retries = limits
        self.breaker.limits = Limits(None, pending, requests, retries)

    @rule(kind=st.integers(0, 2))
    def begin(self, kind: int) -> None:
        name, begin = KINDS[kind]
        limit = getattr(self.breaker.limits, f"max_{name}")
        slot = begin(self.breaker)
        refused = limit is not None and len(self.under_way[kind]) >= limit
        assert refused == isinstance(slot, Failure)
        if isinstance(slot, Slot):
            self.under_way[kind].append(slot)

    @precondition(lambda self: any(self.under_way))
    @rule(data=st.data(), dropped=st.booleans())
    def end(self, data: st.DataObject, dropped: bool) -> None:
        kind = data.draw(st.sampled_from([k for k in range(3) if self.under_way[k]]))
        slot = self.under_way[kind].pop()
        if not dropped:
            slot.give_back()

    @invariant()
    def the_counts_are_exact(self) -> None:
        breaker = self.breaker
        counts = [breaker.requests, breaker.pending, breaker.retries]
        assert counts == [len(slots) for slots in self.under_way]


TestBreakerMachine = BreakerMachine.TestCase
