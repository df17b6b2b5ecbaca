"""The debouncer of publications, in virtual time."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lookaside.sources.kubernetes.debouncer import Debouncer
from tests.faults.recording import FakeTime

WINDOW = 1.0


class Stage:
    """A debouncer, what is to be published, and when it was."""

    def __init__(self, window: float = WINDOW) -> None:
        self.time = FakeTime()
        self.start = self.time.now
        self.waiting = 0
        self.published: list[tuple[float, int, float]] = []
        self.debouncer = Debouncer(
            window,
            self._publish,
            clock=lambda: self.time.now,
            call_later=self.time.call_later,
        )

    def change(self) -> None:
        self.waiting += 1
        self.debouncer.ask(self.time.now)

    def _publish(self, at: float) -> bool:
        count, self.waiting = self.waiting, 0
        if count:
            self.published.append((self.time.now - self.start, count, at - self.start))
        return bool(count)


def test_a_change_after_a_quiet_time_goes_out_at_once() -> None:
    stage = Stage()
    stage.change()
    stage.time.advance(5.0)
    stage.change()
    assert stage.published == [(0.0, 1, 0.0), (5.0, 1, 5.0)]


def test_changes_within_the_window_go_out_together_at_its_end() -> None:
    stage = Stage()
    stage.change()
    stage.time.advance(0.25)
    stage.change()
    stage.time.advance(0.25)
    stage.change()
    assert stage.published == [(0.0, 1, 0.0)]
    stage.time.advance(0.5)
    assert stage.published[1:] == [(1.0, 2, 0.25)]
    assert not stage.time.pending()


def test_churn_makes_one_publication_a_window() -> None:
    stage = Stage()
    for _ in range(100):
        stage.change()
        stage.time.advance(0.0625)
    times = [time for time, _, _ in stage.published]
    assert times == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    stage.time.advance(WINDOW)
    assert sum(count for _, count, _ in stage.published) == 100


def test_with_no_window_each_change_goes_out_at_once() -> None:
    stage = Stage(0.0)
    for _ in range(3):
        stage.change()
    assert stage.published == [(0.0, 1, 0.0)] * 3
    assert not stage.time.timers


def test_what_comes_to_nothing_begins_no_window() -> None:
    stage = Stage()
    stage.debouncer.ask(stage.time.now)
    stage.change()
    assert stage.published == [(0.0, 1, 0.0)]


def test_a_publication_by_other_means_begins_a_window() -> None:
    stage = Stage()
    stage.change()
    stage.change()
    stage.waiting = 0
    stage.time.advance(0.5)
    stage.debouncer.published()
    assert not stage.time.pending()
    stage.change()
    assert stage.published == [(0.0, 1, 0.0)]
    stage.time.advance(1.0)
    assert stage.published[1:] == [(1.5, 1, 0.5)]


def test_closing_stops_the_timer() -> None:
    stage = Stage()
    stage.change()
    stage.change()
    stage.debouncer.close()
    assert not stage.time.pending()


@given(st.integers(), st.lists(st.floats(0.0, 3.0), max_size=60))
def test_the_last_state_is_always_published_within_a_window(seed: int, gaps: list[float]) -> None:
    stage = Stage()
    rng = random.Random(seed)
    for gap in gaps:
        stage.time.advance(gap)
        for _ in range(rng.randrange(3)):
            stage.change()
        assert not stage.waiting or stage.time.pending()
    stage.time.advance(WINDOW)
    assert not stage.waiting
    times = [time for time, _, _ in stage.published]
    assert all(later - sooner >= WINDOW - 1e-6 for sooner, later in pairwise(times))
    assert all(time - at <= WINDOW + 1e-6 for time, _, at in stage.published)
