"""Outlier detection: which backends are ejected, and until when."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_resolver.core.outlier import (
    Detector,
    FailurePercentageEjection,
    OutlierDetection,
    SuccessRateEjection,
)

FAILURES = OutlierDetection(
    max_ejection_percent=50,
    failure_percentage=FailurePercentageEjection(50, 100, minimum_hosts=3, request_volume=10),
)
RATES = OutlierDetection(
    max_ejection_percent=50,
    success_rate=SuccessRateEjection(1000, 100, minimum_hosts=3, request_volume=10),
)
IN_A_ROW = OutlierDetection(max_ejection_percent=50, consecutive_errors=5)


def detector(config: OutlierDetection, hosts: str = "abcd") -> Detector:
    made = Detector(config, Random(0))
    made.keep(list(hosts))
    return made


def rpcs(tested: Detector, failed: Mapping[str, int], now: float, total: int = 10) -> None:
    """Have each backend end `total` RPCs, the given number of them with errors, those first."""
    for address, errors in failed.items():
        for n in range(total):
            tested.ended(address, n >= errors, now)


def fail(tested: Detector, address: str, times: int, now: float = 0.0) -> list[bool]:
    return [tested.ended(address, False, now) for _ in range(times)]


# Failure percentage


@pytest.mark.parametrize(
    ("failed", "ejected"),
    [
        ({"a": 0, "b": 0, "c": 0, "d": 0}, ""),
        ({"a": 5, "b": 0, "c": 0, "d": 0}, ""),
        ({"a": 6, "b": 0, "c": 0, "d": 0}, "a"),
        ({"a": 10, "b": 0, "c": 0, "d": 10}, "ad"),
        ({"a": 10, "b": 10, "c": 10, "d": 10}, "ab"),
        ({"a": 10, "b": 0, "c": 0}, "a"),
        ({"a": 10, "b": 0}, ""),
    ],
)
def test_a_backend_that_fails_more_than_the_threshold_is_ejected(
    failed: dict[str, int], ejected: str
) -> None:
    tested = detector(FAILURES)
    rpcs(tested, failed, 0.0)
    assert tested.sweep(10.0) is bool(ejected)
    assert "".join(tested.ejections()) == ejected


def test_a_backend_with_too_few_rpcs_is_not_judged() -> None:
    tested = detector(FAILURES)
    rpcs(tested, {"b": 0, "c": 0, "d": 0}, 0.0)
    rpcs(tested, {"a": 9}, 0.0, total=9)
    assert not tested.sweep(10.0)
    assert tested.ejections() == {}


def test_rpcs_of_the_interval_before_do_not_count() -> None:
    tested = detector(FAILURES)
    rpcs(tested, {"a": 5, "b": 0, "c": 0}, 0.0, total=5)
    tested.sweep(10.0)
    rpcs(tested, {"a": 5, "b": 0, "c": 0}, 11.0, total=5)
    assert not tested.sweep(20.0)


def test_a_volume_of_zero_judges_nobody_without_rpcs() -> None:
    none = replace(FAILURES, failure_percentage=FailurePercentageEjection(0, 100, 0, 0))
    both = replace(none, success_rate=SuccessRateEjection(0, 100, 0, 0))
    tested = detector(both)
    tested.ended("a", True, 0.0)
    assert not tested.sweep(10.0)


# Success rate


@pytest.mark.parametrize(
    ("failed", "factor", "ejected"),
    [
        # Rates 0.5, 1, 1, 1: mean 0.875, deviation 0.2165.
        ({"a": 5, "b": 0, "c": 0, "d": 0}, 1000, "a"),
        ({"a": 5, "b": 0, "c": 0, "d": 0}, 1731, "a"),
        ({"a": 5, "b": 0, "c": 0, "d": 0}, 1733, ""),
        # Rates 0.5, 0.5, 1, 1: mean 0.75, deviation 0.25.
        ({"a": 5, "b": 5, "c": 0, "d": 0}, 999, "ab"),
        ({"a": 5, "b": 5, "c": 0, "d": 0}, 1001, ""),
        # All alike: nobody is below the mean.
        ({"a": 9, "b": 9, "c": 9, "d": 9}, 0, ""),
        # Too few to compare.
        ({"a": 10, "b": 0}, 0, ""),
    ],
)
def test_a_backend_far_below_the_mean_success_rate_is_ejected(
    failed: dict[str, int], factor: int, ejected: str
) -> None:
    tested = detector(replace(RATES, success_rate=SuccessRateEjection(factor, 100, 3, 10)))
    rpcs(tested, failed, 0.0)
    assert tested.sweep(10.0) is bool(ejected)
    assert "".join(tested.ejections()) == ejected


@pytest.mark.parametrize(
    "config",
    [
        replace(RATES, success_rate=SuccessRateEjection(1000, 30, 3, 10)),
        replace(FAILURES, failure_percentage=FailurePercentageEjection(50, 30, 3, 10)),
    ],
)
def test_one_that_is_found_is_ejected_as_often_as_the_enforcement_percentage_says(
    config: OutlierDetection,
) -> None:
    rng = Random(1)
    ejected = 0
    for _ in range(1000):
        tested = Detector(config, rng)
        tested.keep("abcd")
        rpcs(tested, {"a": 10, "b": 0, "c": 0, "d": 0}, 0.0)
        ejected += tested.sweep(10.0)
    # 5 standard deviations of 1000 binomial draws are 73.
    assert ejected == pytest.approx(300, abs=73)


def test_an_enforcement_of_zero_ejects_nobody() -> None:
    config = replace(FAILURES, failure_percentage=FailurePercentageEjection(50, 0, 3, 10))
    for seed in range(100):
        tested = Detector(config, Random(seed))
        tested.keep("abcd")
        rpcs(tested, {"a": 10, "b": 0, "c": 0, "d": 0}, 0.0)
        assert not tested.sweep(10.0)


def test_what_both_algorithms_find_is_ejected_once() -> None:
    tested = detector(replace(RATES, failure_percentage=FAILURES.failure_percentage))
    rpcs(tested, {"a": 10, "b": 0, "c": 0, "d": 0}, 0.0)
    tested.sweep(10.0)
    assert tested.ejections() == {"a": 40.0}


# Consecutive errors


def test_a_backend_that_fails_five_times_in_a_row_is_ejected_at_once() -> None:
    tested = detector(IN_A_ROW)
    assert fail(tested, "a", 5, now=3.0) == [False] * 4 + [True]
    assert tested.ejected("a")
    assert tested.ejections() == {"a": 33.0}
    assert tested.reason("a") == "5 errors in a row"


def test_a_success_starts_the_count_anew() -> None:
    tested = detector(IN_A_ROW)
    fail(tested, "a", 4)
    tested.ended("a", True, 0.0)
    assert fail(tested, "a", 5) == [False] * 4 + [True]


def test_errors_are_counted_for_each_backend_alone() -> None:
    tested = detector(IN_A_ROW)
    for _ in range(4):
        assert fail(tested, "a", 1) == fail(tested, "b", 1) == [False]
    assert fail(tested, "b", 1) == [True]
    assert not tested.ejected("a")


def test_one_that_was_spared_for_want_of_room_is_ejected_once_there_is_room() -> None:
    tested = detector(IN_A_ROW, "ab")
    assert fail(tested, "a", 5)[-1] is True
    assert fail(tested, "b", 6)[-1] is False
    tested.sweep(30.0)
    assert not tested.ejected("a")
    assert fail(tested, "b", 1, now=31.0) == [True]


def test_errors_from_before_the_return_do_not_count_after_it() -> None:
    tested = detector(IN_A_ROW)
    fail(tested, "a", 9)
    tested.sweep(30.0)
    assert fail(tested, "a", 5, now=31.0) == [False] * 4 + [True]


# How many


@pytest.mark.parametrize(
    ("hosts", "percent", "most"),
    [
        (10, 0, 0),
        (1, 1, 1),
        (3, 10, 1),
        (10, 10, 1),
        (10, 11, 2),
        (10, 50, 5),
        (3, 50, 2),
        (10, 100, 10),
    ],
)
def test_a_further_one_is_ejected_while_less_than_the_maximum_percentage_is(
    hosts: int, percent: int, most: int
) -> None:
    names = [str(n) for n in range(hosts)]
    at_once = Detector(replace(IN_A_ROW, max_ejection_percent=percent), Random(0))
    swept = Detector(
        replace(
            FAILURES,
            max_ejection_percent=percent,
            failure_percentage=FailurePercentageEjection(50, 100, 1, 1),
        ),
        Random(0),
    )
    for tested in (at_once, swept):
        tested.keep(names)
        for name in names:
            fail(tested, name, 5)
        tested.sweep(10.0)
        assert len(tested.ejections()) == most


@given(
    percent=st.integers(0, 100),
    hosts=st.integers(1, 12),
    steps=st.lists(
        st.tuples(st.integers(0, 11), st.booleans(), st.floats(0, 8)), min_size=1, max_size=200
    ),
)
def test_whatever_happens_no_more_than_the_maximum_percentage_and_a_part_of_one_are_ejected(
    percent: int, hosts: int, steps: list[tuple[int, bool, float]]
) -> None:
    config = OutlierDetection(
        max_ejection_percent=percent,
        success_rate=SuccessRateEjection(500, 100, 1, 1),
        failure_percentage=FailurePercentageEjection(20, 100, 1, 1),
        consecutive_errors=2,
    )
    tested = Detector(config, Random(0))
    tested.keep([str(n) for n in range(hosts)])
    now = 0.0
    for host, ok, wait in steps:
        now += wait
        before = set(tested.ejections())
        at_once = tested.ended(str(host), ok, now)
        after = set(tested.ejections())
        assert at_once is (after != before)
        changed = tested.sweep(now)
        assert changed is (set(tested.ejections()) != after)
        ejected = len(tested.ejections())
        assert (ejected - 1) * 100 < percent * hosts
        assert percent > 0 or ejected == 0
        assert all(until <= now + 300 for until in tested.ejections().values())


# How long


def test_each_ejection_lasts_once_more_the_base_up_to_the_longest() -> None:
    tested = detector(replace(IN_A_ROW, base_ejection_time=30.0, max_ejection_time=100.0))
    now = 0.0
    lasted = []
    for _ in range(5):
        fail(tested, "a", 5, now)
        until = tested.ejections()["a"]
        lasted.append(until - now)
        assert not tested.sweep(until - 0.5)
        # A sweep returns it; it is well for no sweep before it fails again.
        now = (tested.wake_at or 0.0) + 1.0
        assert tested.sweep(now)
    assert lasted == [30.0, 60.0, 90.0, 100.0, 100.0]


def test_a_base_longer_than_the_longest_holds() -> None:
    tested = detector(replace(IN_A_ROW, base_ejection_time=60.0, max_ejection_time=5.0))
    for now in (0.0, 100.0):
        fail(tested, "a", 5, now)
        assert tested.ejections() == {"a": now + 60.0}
        tested.sweep(now + 60.0)


def test_each_sweep_that_a_backend_is_well_for_takes_one_multiple_off() -> None:
    tested = detector(replace(IN_A_ROW, interval=10.0, base_ejection_time=30.0))
    for now in (0.0, 100.0, 200.0):
        fail(tested, "a", 5, now)
        assert tested.sweep(now + 99.0)
    # Ejected three times, then well for two sweeps.
    tested.sweep(310.0)
    tested.sweep(320.0)
    fail(tested, "a", 5, 321.0)
    assert tested.ejections() == {"a": 321.0 + 60.0}


def test_an_ejected_backend_returns_at_the_first_sweep_after_its_time() -> None:
    tested = detector(FAILURES)
    rpcs(tested, {"a": 10, "b": 0, "c": 0, "d": 0}, 0.0)
    tested.sweep(10.0)
    assert tested.ejections() == {"a": 40.0}
    assert [tested.sweep(now) for now in (20.0, 30.0, 39.9)] == [False, False, False]
    assert tested.ejected("a")
    assert tested.sweep(40.0)
    assert not tested.ejected("a")
    assert tested.reason("a") == ""


def test_what_an_ejected_backend_comes_to_prolongs_nothing() -> None:
    tested = detector(FAILURES)
    for now in (0.0, 11.0, 21.0):
        rpcs(tested, {"a": 10, "b": 0, "c": 0, "d": 0}, now)
        tested.sweep(now + 10.0)
    assert tested.ejections() == {"a": 40.0}


# When


def test_without_rpcs_there_is_nothing_to_wake_up_for() -> None:
    tested = detector(FAILURES)
    assert tested.wake_at is None
    assert not tested.sweep(1000.0)


def test_the_first_rpc_begins_an_interval_and_a_quiet_one_is_the_last() -> None:
    tested = detector(FAILURES)
    tested.ended("a", True, 5.0)
    assert tested.wake_at == 15.0
    tested.sweep(15.0)
    assert tested.wake_at == 25.0
    tested.sweep(25.0)
    assert tested.wake_at is None


def test_sweeps_go_on_until_no_ejection_is_remembered() -> None:
    tested = detector(IN_A_ROW)
    fail(tested, "a", 5)
    swept: list[float] = []
    while tested.wake_at is not None and len(swept) < 10:
        swept.append(tested.wake_at)
        tested.sweep(tested.wake_at)
    assert swept == [10.0, 20.0, 30.0, 40.0]


def test_a_sweep_before_its_time_does_nothing() -> None:
    tested = detector(FAILURES)
    rpcs(tested, {"a": 10, "b": 0, "c": 0, "d": 0}, 0.0)
    assert not tested.sweep(9.9)
    assert tested.wake_at == 10.0
    assert tested.sweep(10.0)


# The list


def test_a_backend_that_left_is_forgotten_and_starts_clean_when_it_is_back() -> None:
    tested = detector(IN_A_ROW)
    fail(tested, "a", 5)
    tested.keep("bcd")
    assert not tested.ejected("a")
    assert tested.ejections() == {}
    tested.keep("abcd")
    assert not tested.ejected("a")
    assert fail(tested, "a", 5, now=1.0)[-1] is True
    assert tested.ejections() == {"a": 31.0}


def test_one_that_left_makes_room_for_another() -> None:
    tested = detector(IN_A_ROW, "ab")
    fail(tested, "a", 5)
    tested.keep("bc")
    assert fail(tested, "b", 5)[-1] is True


def test_an_rpc_on_a_backend_that_is_not_listed_is_ignored() -> None:
    tested = detector(IN_A_ROW)
    assert not any(fail(tested, "gone", 10))
    assert not tested.ejected("gone")
    assert tested.reason("gone") == ""


# Another config


def test_another_config_keeps_who_is_ejected() -> None:
    tested = detector(IN_A_ROW)
    fail(tested, "a", 5)
    assert not tested.configure(replace(IN_A_ROW, interval=3.0, base_ejection_time=7.0))
    assert tested.ejections() == {"a": 7.0}
    assert tested.wake_at == 3.0


def test_a_config_that_ejects_nothing_returns_all_and_forgets() -> None:
    tested = detector(IN_A_ROW)
    fail(tested, "a", 5)
    assert tested.configure(OutlierDetection())
    assert tested.ejections() == {}
    assert tested.wake_at is None
    assert not any(fail(tested, "a", 10))
    assert not tested.configure(IN_A_ROW)
    assert tested.config == IN_A_ROW
    assert fail(tested, "a", 5, now=1.0) == [False] * 4 + [True]
    assert tested.ejections() == {"a": 31.0}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (FAILURES, "failed 10 of 10 RPCs, over 50%"),
        (RATES, "success rate 0.0%, less than 31.7%"),
    ],
)
def test_the_reason_of_an_ejection_is_told(config: OutlierDetection, reason: str) -> None:
    tested = detector(config)
    rpcs(tested, {"a": 10, "b": 0, "c": 0, "d": 0}, 0.0)
    tested.sweep(10.0)
    assert tested.reason("a") == reason


# Successes, which any thread counts


def test_each_success_is_in_one_interval_whoever_counts_it_while_a_sweep_reads() -> None:
    host = detector(FAILURES).host("a")
    assert host is not None
    begin, each = threading.Barrier(5), 5000
    read: list[int] = []

    def succeed() -> None:
        begin.wait(60)
        for _ in range(each):
            next(host.successes)

    threads = [threading.Thread(target=succeed) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin.wait(60)
    while any(thread.is_alive() for thread in threads):
        host.read()
        read.append(host.ok)
    host.read()
    assert sum(read) + host.ok == 4 * each


def test_what_succeeded_while_nothing_was_swept_is_in_no_interval() -> None:
    tested = detector(IN_A_ROW)
    rpcs(tested, {"a": 0}, 0.0, total=1000)
    tested.configure(FAILURES)
    assert tested.resting
    rpcs(tested, {"a": 10, "b": 0, "c": 0, "d": 0}, 1.0)
    assert tested.wake_at == 11.0
    assert tested.sweep(11.0)
    assert tested.ejected("a")
