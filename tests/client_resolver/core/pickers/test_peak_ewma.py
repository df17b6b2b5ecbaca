import sys
import threading
from collections import Counter
from math import exp, log
from random import Random
from types import FrameType
from typing import Any

import pytest

from client_resolver.core.picker import CountingFailures, Reporting
from client_resolver.core.pickers.peak_ewma import Latency, PeakEwma, PeakEwmaPicker
from tests.client_resolver.core.pickers.fakes import Clock, FakeBackend, backends


def built(
    some: list[FakeBackend], clock: Clock, before: PeakEwmaPicker[FakeBackend] | None = None
) -> PeakEwmaPicker[FakeBackend]:
    picker = PeakEwma().build(some, Random(8), clock, before)
    assert isinstance(picker, PeakEwmaPicker)
    return picker


def picks(picker: PeakEwmaPicker[FakeBackend], number: int = 2000) -> Counter[FakeBackend]:
    return Counter(picker.pick() for _ in range(number))


@pytest.mark.parametrize(
    ("seen", "after", "expected"),
    [
        pytest.param([0.2], 0, 0.2, id="first"),
        pytest.param([0.2, 0.8], 0, 0.8, id="a peak counts at once"),
        pytest.param([0.8, 0.2], 0, 0.8, id="at the same moment it doesn't go down"),
        pytest.param([0.8, 0.2], 10, 0.8 * exp(-1) + 0.2 * (1 - exp(-1)), id="a moving average"),
    ],
)
def test_the_latency_is_a_moving_average_that_jumps_up(
    seen: list[float], after: float, expected: float
) -> None:
    latency, now = Latency(0.0), 0.0
    for seconds in seen:
        latency.observe(seconds, now, 10.0)
        now += after
    assert latency.seconds == pytest.approx(expected)


def test_a_slow_backend_is_avoided_and_comes_back_when_its_latency_has_faded() -> None:
    some, clock = backends(1, 1, 1), Clock()
    picker = built(some, clock)
    for backend, seconds in zip(some, (0.01, 0.01, 1.0), strict=True):
        picker.ended(backend, seconds, ok=True)
    # It is picked only where it is drawn nine times in a row.
    assert picks(picker)[some[2]] <= 2
    back = 10.0 * log(1.0 / 0.01)
    for moment, expected in ((back - 0.5, False), (back + 0.5, True)):
        clock.now = 100.0 + moment
        for backend in some[:2]:
            picker.ended(backend, 0.01, ok=True)
        assert (picks(picker)[some[2]] > 500) is expected


def test_rpcs_in_flight_count_as_often_as_the_latency() -> None:
    some, clock = backends(1, 1), Clock()
    picker = built(some, clock)
    picker.ended(some[0], 0.1, ok=True)
    picker.ended(some[1], 0.3, ok=True)
    some[0].in_flight = [None]
    assert picks(picker).most_common(1)[0][0] is some[0]
    some[0].in_flight = [None] * 3
    assert picks(picker).most_common(1)[0][0] is some[1]


def test_an_unknown_backend_gets_one_rpc_and_no_second_before_its_answer() -> None:
    some, clock = backends(1, 1), Clock()
    picker = built(some, clock)
    picker.ended(some[0], 5.0, ok=True)
    assert picks(picker)[some[1]] > 1900
    some[1].in_flight = [None]
    some[0].in_flight = [None] * 50
    assert picks(picker)[some[0]] > 1900


def test_a_backend_that_fails_fast_is_not_a_fast_one() -> None:
    some, clock = backends(1, 1), Clock()
    picker = built(some, clock)
    picker.failed(some[0], 0.001, overload=True)
    picker.ended(some[1], 0.5, ok=True)
    assert picks(picker)[some[1]] > 1900


def test_a_failure_never_lowers_the_expected_latency_but_a_slow_one_raises_it() -> None:
    some, clock = backends(1, 1), Clock()
    picker = built(some, clock)
    picker.ended(some[0], 0.5, ok=True)
    picker.failed(some[0], 0.001, overload=False)
    assert picker.latencies[some[0]].seconds == 0.5
    picker.failed(some[0], 2.0, overload=False)
    assert picker.latencies[some[0]].seconds == 2.0
    picker.failed(backends(1)[0], 9.0, overload=False)
    assert len(picker.latencies) == 2


def test_what_is_known_goes_over_to_the_next_picker() -> None:
    some, clock = backends(1, 1, 1), Clock()
    first = built(some, clock)
    for backend, seconds in zip(some, (0.01, 1.0, 0.5), strict=True):
        first.ended(backend, seconds, ok=True)
    second = built(some[:2], clock, first)
    assert picks(second)[some[0]] > 1900
    assert repr(second) == "<PeakEwmaPicker of 2 backends, 2 known>"


def test_an_rpc_that_ends_on_a_backend_that_has_left_is_ignored() -> None:
    some = backends(1, 1)
    picker = built(some[:1], Clock())
    picker.ended(some[1], 1.0, ok=True)
    assert list(picker.latencies) == [some[0]]


def test_a_tried_backend_is_not_picked_however_fast_it_is() -> None:
    some = backends(1, 1, 1)
    picker = built(some, Clock())
    for backend in some[1:]:
        picker.ended(backend, 1.0, ok=True)
    assert {picker.pick(tried=some[:1]) for _ in range(100)} == set(some[1:])
    assert picker.pick(tried=some) in some


def test_a_single_backend_is_picked() -> None:
    (only,) = backends(1)
    assert built([only], Clock()).pick() is only


def test_its_pickers_want_to_be_told() -> None:
    assert PeakEwma().measured
    assert PeakEwma().counts_failures
    assert isinstance(built(backends(1), Clock()), Reporting)
    assert isinstance(built(backends(1), Clock()), CountingFailures)


@pytest.mark.parametrize(
    ("config", "text"),
    [({"decay": "0s"}, "decay is 0s"), ({"failurePenalty": 3}, "failurePenalty is 3")],
)
def test_a_field_that_cannot_be_used_is_named(config: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        PeakEwma.from_config(config)


def test_a_latency_that_is_told_in_the_middle_of_another_counts_once_that_is_added() -> None:
    """As by a signal handler or a finaliser: here, at each line in turn."""

    def interrupted_at(number: int) -> bool:
        latency, lines = Latency(0.0), 0

        def trace(frame: FrameType, event: str, _arg: object) -> Any:
            nonlocal lines
            if event == "line" and frame.f_code.co_filename.endswith("peak_ewma.py"):
                lines += 1
                if lines == number:
                    sys.settrace(None)
                    latency.observe(5.0, 1.0, 10.0)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            latency.observe(0.1, 1.0, 10.0)
        finally:
            sys.settrace(before)
        assert lines < number or latency.seconds == 5.0
        return lines >= number

    def all_lines() -> None:
        number = 1
        while interrupted_at(number):
            number += 1
        interrupted.append(number)

    interrupted: list[int] = []
    thread = threading.Thread(target=all_lines, daemon=True)
    thread.start()
    thread.join(60)
    assert interrupted, "a call waits for its own thread, or a latency is lost"
    assert interrupted[0] > 8
