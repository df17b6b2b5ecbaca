import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.sources.backoff import Backoff


@given(st.integers(), st.integers(1, 40))
def test_pauses_grow_from_the_shortest_to_the_ceiling(seed: int, failures: int) -> None:
    backoff = Backoff(0.8, 30.0, 120.0, random.Random(seed))
    now = 0.0
    pauses = []
    for _ in range(failures):
        pauses.append(backoff.pause(now))
        now += pauses[-1]
    assert 0.8 <= pauses[0] <= 1.6
    assert all(0.8 <= pause <= 30.0 for pause in pauses)
    assert all(pause >= 15.0 for pause in pauses[6:])


def test_pauses_are_jittered_at_the_ceiling_too() -> None:
    backoff = Backoff(0.8, 30.0, 120.0, random.Random(1))
    pauses = {backoff.pause(0.0) for _ in range(50)}
    assert len(pauses) == 50


@pytest.mark.parametrize(("quiet", "short"), [(119.0, False), (121.0, True)])
def test_pauses_are_short_again_after_two_quiet_minutes(quiet: float, short: bool) -> None:
    backoff = Backoff(0.8, 30.0, 120.0, random.Random(1))
    now = 0.0
    for _ in range(10):
        now += backoff.pause(now)
    assert (backoff.pause(now + quiet) <= 1.6) is short


def test_pauses_are_short_again_after_a_success() -> None:
    backoff = Backoff(0.8, 30.0, 120.0, random.Random(1))
    for now in range(10):
        backoff.pause(float(now))
    backoff.reset()
    assert backoff.pause(11.0) <= 1.6
