from random import Random

import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.backends import Pool
from client_resolver.core.model import (
    Code,
    Connectivity,
    Endpoint,
    Failure,
    ListState,
    ServerList,
    SetAside,
)
from client_resolver.core.outlook import survey
from client_resolver.core.pickers import POLICIES


def pool(*weights: int) -> Pool[object]:
    subject: Pool[object] = Pool(POLICIES["round_robin"], Random(1), None)
    subject.update(
        [
            Endpoint(parse_address(f"10.0.0.1:{port}"), weight)
            for port, weight in enumerate(weights, 1)
        ],
        0.0,
    )
    return subject


def test_before_the_first_list_rpcs_wait() -> None:
    outlook = survey(pool(), None, None)
    assert outlook.failure is None
    assert outlook.waiting == "the first list of backends"
    assert outlook.connectivity is Connectivity.CONNECTING


def test_without_a_list_and_with_an_error_rpcs_fail_with_it() -> None:
    failure = Failure(Code.INVALID_ARGUMENT, "say which port")
    outlook = survey(pool(), None, failure)
    assert outlook.failure is failure
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
