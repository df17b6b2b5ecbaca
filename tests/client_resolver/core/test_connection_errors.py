import pytest

from client_resolver.core.backend import Backend, Explain
from client_resolver.core.connection_errors import ConnectionErrors, cause
from tests.client_resolver.core.pooling import Clock, endpoint


def failing(port: int = 1) -> Backend[object]:
    backend: Backend[object] = Backend(endpoint(port))
    backend.opened = True
    return backend


def test_the_reason_is_grpcs_without_what_every_one_begins_with() -> None:
    refused = "UNKNOWN: ipv4:127.0.0.1:9: Failed to connect to remote host: Connection refused"
    lead = "failed to connect to all addresses; last error: "
    assert cause("UNAVAILABLE", f"{lead}{refused}") == refused
    assert cause("UNAVAILABLE", "backend unhealthy") == "backend unhealthy"


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("UNAVAILABLE", "Getting metadata from plugin failed with error: not to be sent"),
        ("UNAUTHENTICATED", "Established channel does not have a sufficient security level"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded"),
        ("CANCELLED", "Channel closed!"),
    ],
)
def test_what_the_question_ends_with_where_there_is_a_connection_is_no_reason(
    code: str, details: str
) -> None:
    assert cause(code, details) == ""


def test_a_reason_of_any_length_is_kept_in_500_characters() -> None:
    assert cause("UNAVAILABLE", "x" * 100_000) == "x" * 500 + "…"


def test_one_question_is_asked_at_a_time() -> None:
    subject: ConnectionErrors[object] = ConnectionErrors(Clock())
    backend = failing()
    assert subject.failed(backend) == [Explain(backend)]
    assert subject.failed(backend) == []
    assert subject.answered(backend)
    assert not subject.answered(backend), "nothing was asked since"


def test_while_it_fails_the_question_is_asked_again_ever_more_seldom() -> None:
    clock = Clock()
    subject: ConnectionErrors[object] = ConnectionErrors(clock)
    backend = failing()
    subject.failed(backend)
    asked = []
    for _ in range(9):
        assert subject.answered(backend)
        wake_at = subject.wake_at
        assert wake_at is not None
        assert subject.due(wake_at - 0.001) == []
        asked.append(wake_at - clock.now)
        clock.now = wake_at
        assert subject.due(clock.now) == [Explain(backend)]
    assert asked == [1, 2, 4, 8, 16, 32, 64, 64, 64]


def test_a_connection_that_works_again_is_asked_no_more_and_then_as_for_the_first_time() -> None:
    clock = Clock()
    subject: ConnectionErrors[object] = ConnectionErrors(clock)
    backend = failing()
    subject.failed(backend)
    subject.answered(backend)
    subject.forget(backend)
    assert subject.wake_at is None
    assert subject.failed(backend) == [Explain(backend)]
    subject.answered(backend)
    assert subject.wake_at == 1


def test_an_answer_about_a_connection_that_is_well_or_closed_is_not_wanted() -> None:
    subject: ConnectionErrors[object] = ConnectionErrors(Clock())
    well, closed = failing(1), failing(2)
    subject.failed(well)
    subject.forget(well)
    assert not subject.answered(well)
    subject.failed(closed)
    subject.answered(closed)
    closed.opened = False
    assert subject.wake_at is None
