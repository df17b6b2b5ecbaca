import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from lookaside.sources.kubernetes.api.errors import (
    ApiStatus,
    KubernetesError,
    ReadTimeout,
    Unreachable,
)
from lookaside.sources.kubernetes.reflector_log import ReflectorLog
from lookaside.sources.kubernetes.reflector_policy import Phase


def told(*errors: KubernetesError, phase: Phase = Phase.LIST) -> list[EventDict]:
    with capture_logs() as logs:
        reflector_log = ReflectorLog("pods", "a ClusterRole needs it")
        for now, error in enumerate(errors):
            reflector_log.failed(error, phase, float(now))
        reflector_log.recovered("7")
        reflector_log.recovered("8")
    return logs


def test_a_failure_is_logged_once_in_a_row_and_so_is_its_end() -> None:
    logs = told(Unreachable("no"), Unreachable("no"), ApiStatus(500, "x"), Unreachable("no"))
    assert [(entry["event"], entry.get("reason")) for entry in logs] == [
        ("interrupted", "unreachable"),
        ("interrupted", "error"),
        ("interrupted", "unreachable"),
        ("recovered", None),
    ]
    assert {entry["resource"] for entry in logs} == {"pods"}


def test_a_missing_right_is_named_once_it_has_lasted() -> None:
    refused = ApiStatus(403, "no")
    assert [entry["event"] for entry in told(*[refused] * 5)] == ["interrupted", "recovered"]
    logs = told(*[refused] * 9)
    assert [entry["event"] for entry in logs] == ["interrupted", "forbidden", "recovered"]
    assert (logs[1]["log_level"], logs[1]["missing"]) == ("error", "a ClusterRole needs it")


def test_refusals_of_an_api_server_that_starts_are_none_of_rights() -> None:
    refused, away = ApiStatus(403, "no"), Unreachable("no")
    logs = told(*[refused, refused, away] * 5)
    assert "forbidden" not in [entry["event"] for entry in logs]


@pytest.mark.parametrize(("phase", "lines"), [(Phase.WATCH, 0), (Phase.LIST, 2)])
def test_a_watch_that_falls_silent_is_ordinary(phase: Phase, lines: int) -> None:
    assert len(told(ReadTimeout("hush"), phase=phase)) == lines
