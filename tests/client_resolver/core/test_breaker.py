"""Circuit breaking."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from client_resolver.core.breaker import Breaker, Limits
from client_resolver.core.model import Code, Failure

Begin = Callable[[Breaker], Failure | None]
End = Callable[[Breaker], None]

KINDS: list[tuple[str, Begin, End]] = [
    ("requests", Breaker.enter, Breaker.leave),
    ("pending_requests", Breaker.begin_pending, Breaker.end_pending),
    ("retries", Breaker.begin_retry, Breaker.end_retry),
]


@pytest.mark.parametrize(("kind", "begin", "end"), KINDS)
def test_as_many_as_the_limit_may_be_under_way(kind: str, begin: Begin, end: End) -> None:
    breaker = Breaker(Limits(**{f"max_{kind}": 2}))
    assert begin(breaker) is None
    assert begin(breaker) is None
    refused = Failure(Code.UNAVAILABLE, f"circuit breaker: max_{kind} (2) reached")
    assert begin(breaker) == refused
    end(breaker)
    assert begin(breaker) is None
    assert begin(breaker) == refused


@pytest.mark.parametrize(("kind", "begin", "end"), KINDS)
def test_a_limit_of_zero_refuses_all(kind: str, begin: Begin, end: End) -> None:
    assert begin(Breaker(Limits(**{f"max_{kind}": 0}))) is not None


@pytest.mark.parametrize(("kind", "begin", "end"), KINDS)
def test_without_a_limit_nothing_is_refused(kind: str, begin: Begin, end: End) -> None:
    breaker = Breaker(Limits())
    assert all(begin(breaker) is None for _ in range(1000))


@pytest.mark.parametrize(("kind", "begin", "end"), KINDS)
def test_an_end_without_a_beginning_is_a_mistake(kind: str, begin: Begin, end: End) -> None:
    with pytest.raises(RuntimeError, match="without"):
        end(Breaker(Limits()))


def test_a_lower_limit_holds_for_what_comes_and_ends_nothing() -> None:
    breaker = Breaker(Limits(max_requests=3))
    for _ in range(3):
        breaker.enter()
    breaker.limits = Limits(max_requests=1)
    assert breaker.requests == 3
    for _ in range(2):
        breaker.leave()
        assert breaker.enter() is not None
    breaker.leave()
    assert breaker.enter() is None


def test_its_repr_tells_the_counts() -> None:
    breaker = Breaker(Limits(max_requests=5))
    breaker.enter()
    assert repr(breaker).startswith("<Breaker: 1 requests, 0 pending, 0 retries; Limits(")


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
        self.under_way = [0, 0, 0]

    @rule(limits=st.tuples(*[st.none() | st.integers(0, 4)] * 3))
    def replace_limits(self, limits: tuple[int | None, int | None, int | None]) -> None:
        requests, pending, retries = limits
        self.breaker.limits = Limits(None, pending, requests, retries)

    @rule(kind=st.integers(0, 2))
    def begin(self, kind: int) -> None:
        name, begin, _ = KINDS[kind]
        limit = getattr(self.breaker.limits, f"max_{name}")
        refused = begin(self.breaker) is not None
        assert refused == (limit is not None and self.under_way[kind] >= limit)
        self.under_way[kind] += not refused

    @precondition(lambda self: any(self.under_way))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from([k for k in range(3) if self.under_way[k]]))
        KINDS[kind][2](self.breaker)
        self.under_way[kind] -= 1

    @invariant()
    def the_counts_are_exact(self) -> None:
        breaker = self.breaker
        assert [breaker.requests, breaker.pending, breaker.retries] == self.under_way

    def teardown(self) -> None:
        for kind, count in enumerate(self.under_way):
            for _ in range(count):
                KINDS[kind][2](self.breaker)
        breaker = self.breaker
        assert (breaker.requests, breaker.pending, breaker.retries) == (0, 0, 0)


TestBreakerMachine = BreakerMachine.TestCase
