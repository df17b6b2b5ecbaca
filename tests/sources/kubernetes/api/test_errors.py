import pytest

from lookaside.errors import SourceError
from lookaside.sources.kubernetes.api import errors
from lookaside.sources.kubernetes.api.errors import ApiStatus, KubernetesError

TOO_LARGE = "Too large resource version: 12, current: 9"


@pytest.mark.parametrize(
    ("status", "reason", "loses_position"),
    [
        (ApiStatus(401, "who?"), "unauthorized", False),
        (ApiStatus(403, "no"), "forbidden", False),
        (ApiStatus(410, "gone"), "expired", True),
        (ApiStatus(410, "gone", in_stream=True), "expired", True),
        (ApiStatus(429, "busy"), "throttled", False),
        (ApiStatus(429, "busy", in_stream=True), "throttled", False),
        (ApiStatus(500, "broken"), "error", False),
        (ApiStatus(500, "broken", in_stream=True), "error", True),
        (ApiStatus(504, "gateway"), "error", False),
        (ApiStatus(504, TOO_LARGE), "expired", True),
        (ApiStatus(500, TOO_LARGE), "error", False),
        (ApiStatus(0, "what?", in_stream=True), "error", True),
    ],
)
def test_a_status_has_a_word_and_says_whether_the_position_is_lost(
    status: ApiStatus, reason: str, loses_position: bool
) -> None:
    assert status.reason == reason
    assert status.loses_position is loses_position


def test_every_error_is_a_source_error_with_a_word_of_its_own() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, KubernetesError)
    ]
    assert all(issubclass(kind, SourceError) for kind in kinds)
    words = [kind.reason for kind in kinds if kind is not ApiStatus]
    assert len(set(words)) == len(words) == 9


def test_a_status_says_its_code_and_message() -> None:
    assert str(ApiStatus(403, "no list for you")) == "the API server answers 403: no list for you"
    assert str(ApiStatus(0, "x")) == "the API server answers an error without a code: x"
