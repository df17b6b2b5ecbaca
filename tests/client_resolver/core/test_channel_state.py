import pytest

from client_resolver.core.channel_state import describe, survey
from client_resolver.core.config import PoolConfig, PoolOptions
from client_resolver.core.model import (
    Code,
    Connectivity,
    Failure,
    ListState,
    ServerList,
    SetAside,
)
from client_resolver.core.outlier import OutlierDetection
from client_resolver.core.pool import Pool
from tests.client_resolver.core.pooling import endpoint, make_pool


def pool(*weights: int, options: PoolOptions | None = None) -> Pool[object]:
    outlier = OutlierDetection(consecutive_errors=1, max_ejection_percent=100)
    subject = make_pool(PoolConfig(outlier=outlier), options)
    subject.update([endpoint(port, weight) for port, weight in enumerate(weights, 1)], 0.0)
    return subject


def test_before_the_first_list_rpcs_wait() -> None:
    outlook = survey(pool(), None, None)
    assert outlook.failure is None
    assert outlook.waiting == "the first list of backends"
    assert outlook.overdue("-") == (
        "the deadline passed while waiting for the first list of backends"
    )
    assert outlook.connectivity is Connectivity.CONNECTING


def test_without_a_list_and_with_an_error_rpcs_fail_with_it() -> None:
    failure = Failure(Code.UNAVAILABLE, "say which port")
    outlook = survey(pool(), None, failure)
    assert outlook.failure is failure
    assert outlook.overdue("-") == "the deadline passed: say which port"
    assert outlook.connectivity is Connectivity.TRANSIENT_FAILURE


@pytest.mark.parametrize(
    ("current", "weights", "text"),
    [
        (ServerList((), ListState.ABSENT), (), "no such service"),
        (ServerList((), ListState.EMPTY), (), "exists and has no backends"),
        (ServerList((), ListState.PRESENT), (), "the list has no backends"),
        (
            ServerList((), ListState.PRESENT, set_aside=(SetAside("x", "'x' is bad"),)),
            (),
            "'x' is bad",
        ),
        (ServerList((), ListState.PRESENT), (0, 0), "every one of the 2 backends .* weight 0"),
    ],
)
def test_a_list_without_usable_backends_says_why(
    current: ServerList, weights: tuple[int, ...], text: str
) -> None:
    failure = survey(pool(*weights), current, None).failure
    assert failure is not None
    assert failure.code is Code.UNAVAILABLE
    with pytest.raises(ValueError, match=text):
        raise ValueError(failure.details)


def test_failed_connections_are_named() -> None:
    subject = pool(*[1] * 7)
    for backend in subject:
        subject.observed(backend, Connectivity.TRANSIENT_FAILURE)
    next(iter(subject)).last_error = "refused"
    failure = survey(subject, ServerList(()), None).failure
    assert failure is not None
    assert "7 backends: 10.0.0.1:1 (TRANSIENT_FAILURE: refused), 10.0.0.1:2" in failure.details
    assert failure.details.endswith("and 2 more")


def test_connections_under_way_are_waited_for() -> None:
    outlook = survey(pool(1), ServerList(()), None)
    assert outlook.failure is None
    assert outlook.waiting == "a connection to one of 1 backend: 10.0.0.1:1 (IDLE)"


def test_one_ready_backend_makes_a_picker() -> None:
    subject = pool(1, 1)
    ready = next(iter(subject))
    subject.observed(ready, Connectivity.READY)
    outlook = survey(subject, ServerList(()), None)
    assert outlook.picker is not None
    assert outlook.picker.pick() is ready
    assert outlook.idle_picker is None


def test_idle_backends_are_waited_for_and_can_be_picked() -> None:
    outlook = survey(pool(1, options=PoolOptions(lazy=True)), ServerList(()), None)
    assert outlook.failure is None
    assert outlook.connectivity is Connectivity.IDLE
    assert outlook.waiting == "a connection to one of 1 backend: 10.0.0.1:1 (IDLE)"
    assert outlook.idle_picker is not None


def test_what_is_the_matter_with_a_backend_is_told() -> None:
    subject = pool(1, 1, 1)
    one, two, three = subject
    subject.observed(one, Connectivity.READY)
    subject.failed(one, "UNAVAILABLE", 0.1, 0.0)
    two.last_error = "refused"
    subject.observed(two, Connectivity.TRANSIENT_FAILURE)
    three.in_flight.add(object())
    subject.update([endpoint(1), endpoint(2)], 1.0)
    assert describe([one, two, three]) == (
        "3 backends: 10.0.0.1:1 (READY, ejected), 10.0.0.1:2 (TRANSIENT_FAILURE: refused),"
        " 10.0.0.1:3 (IDLE, no longer listed)"
    )
