"""Subsets kept from list to list are those that are chosen of each list anew."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lookaside.model import Endpoint
from lookaside.policy.subset import Ranking, subset
from lookaside.registry.diff import diff

SOME = st.dictionaries(
    st.integers(0, 40), st.sampled_from([0, 50, 100]), min_size=0, max_size=40
).map(
    lambda weights: tuple(
        sorted(Endpoint(f"10.0.0.{n}", 80, weight) for n, weight in weights.items())
    )
)


@settings(max_examples=300)
@given(lists=st.lists(SOME, min_size=1, max_size=12), size=st.integers(1, 8))
def test_what_is_kept_is_what_would_be_chosen_anew(
    lists: list[tuple[Endpoint, ...]], size: int
) -> None:
    ranking, before = Ranking(size, "client"), None
    for now in lists:
        if before is not None:
            difference = diff(before, now)
            ranking.remove(difference.removed)
            ranking.add(difference.changed)
        if before is None or not ranking.whole:
            ranking.begin()
            ranking.add(now)
        assert (ranking.chosen() or now) == subset(now, size, "client")
        before = now


def test_one_endpoint_of_many_that_changes_is_the_only_one_that_is_hashed() -> None:
    many = tuple(Endpoint(f"10.{n // 250}.{n % 250}.1", 80) for n in range(10_000))
    ranking = Ranking(20, "client")
    ranking.begin()
    ranking.add(many)
    for one in ranking.chosen()[:15]:
        ranking.remove([one.target])
        assert ranking.whole
    assert len(ranking.chosen()) == 20
