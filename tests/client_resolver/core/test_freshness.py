from client_resolver.core.freshness import QUIET, Freshness


def watched() -> Freshness:
    freshness = Freshness()
    freshness.begun(0.0, known=False)
    freshness.heard(1.0, current=True)
    return freshness


def test_without_a_list_there_is_no_age() -> None:
    freshness = Freshness()
    freshness.begun(0.0, known=False)
    freshness.lost(1.0, reached=False)
    assert freshness.age(2.0) is None


def test_a_list_is_current_while_its_watch_is_open_and_quiet() -> None:
    assert watched().age(1000.0) == 0.0


def test_a_list_ages_from_the_loss_of_its_watch_through_all_attempts() -> None:
    freshness = watched()
    freshness.lost(100.0, reached=True)
    freshness.begun(101.0, known=True)
    freshness.lost(104.0, reached=False)
    assert freshness.age(110.0) == 10.0


def test_a_message_makes_it_current_again() -> None:
    freshness = watched()
    freshness.lost(100.0, reached=True)
    freshness.begun(101.0, known=True)
    assert freshness.age(102.0) == 2.0
    freshness.heard(103.0, current=True)
    assert freshness.age(110.0) == 0.0


def test_a_watch_that_has_nothing_to_say_makes_it_current_after_a_while() -> None:
    freshness = watched()
    freshness.lost(100.0, reached=True)
    freshness.begun(101.0, known=True)
    assert freshness.age(101.0 + QUIET - 0.5) == 1.0 + QUIET - 0.5
    assert freshness.age(101.0 + QUIET) == 0.0
    freshness.lost(200.0, reached=True)
    assert freshness.age(203.0) == 3.0


def test_an_attempt_that_never_reached_the_balancer_vouches_for_nothing() -> None:
    freshness = watched()
    freshness.lost(100.0, reached=True)
    freshness.begun(101.0, known=True)
    freshness.lost(101.0 + 2 * QUIET, reached=False)
    assert freshness.age(120.0) == 20.0


def test_a_list_that_its_source_calls_stale_ages_from_then_on() -> None:
    freshness = watched()
    freshness.heard(50.0, current=False)
    freshness.heard(60.0, current=False)
    assert freshness.age(65.0) == 15.0
    freshness.heard(70.0, current=True)
    assert freshness.age(71.0) == 0.0


def test_what_is_polled_was_last_current_at_its_last_answer() -> None:
    freshness = Freshness()
    freshness.heard(10.0, current=True)
    assert freshness.age(39.0) == 0.0
    freshness.lost(40.0, reached=True)
    freshness.lost(70.0, reached=True)
    assert freshness.age(75.0) == 65.0
    freshness.heard(80.0, current=True)
    assert freshness.age(81.0) == 0.0
