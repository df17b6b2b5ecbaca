import pytest

from client_resolver.core.load import LoadReport
from client_resolver.core.pickers.measured_weights import History, MeasuredWeights
from tests.client_resolver.core.pickers.fakes import backends

FULL = 65535


@pytest.mark.parametrize(
    ("histories", "weights"),
    [
        pytest.param([None, None, None], [1, 1, 1], id="nothing known"),
        pytest.param([History(300, 100, 80), None, None], [1, 1, 1], id="one known"),
        pytest.param(
            [History(300, 100, 80), History(100, 100, 80), None],
            [FULL, FULL // 3, round(FULL * 2 / 3)],
            id="the unknown gets the average",
        ),
        pytest.param(
            [History(300, 100, 80), History(100, 100, 80), History(900, 100, 95)],
            [FULL, FULL // 3, round(FULL * 2 / 3)],
            id="in its blackout it gets the average",
        ),
        pytest.param(
            [History(300, 100, 80), History(100, 100, 80), History(900, -80, -500)],
            [FULL, FULL // 3, round(FULL * 2 / 3)],
            id="expired, it gets the average",
        ),
        pytest.param(
            [History(1e9, 100, 80), History(1, 100, 80), History(1e9, 100, 90)],
            [FULL, 1, FULL],
            id="none is without a share",
        ),
    ],
)
def test_weights_are_worked_out_from_histories(
    histories: list[History | None], weights: list[int]
) -> None:
    some = backends(1, 1, 1)
    known = {b.address: h for b, h in zip(some, histories, strict=True) if h is not None}
    assert MeasuredWeights().weights(some, known, 100.0) == weights


@pytest.mark.parametrize(
    ("known", "report", "after"),
    [
        (None, None, None),
        (None, LoadReport(qps=100, cpu_utilization=0.5, received=7), History(200, 7, 7)),
        (None, LoadReport(cpu_utilization=0.5, received=7), None),
        (History(5, 6, 1), LoadReport(qps=0, cpu_utilization=0.5, received=7), History(5, 6, 1)),
        (History(5, 6, 1), LoadReport(qps=1, cpu_utilization=0.5, received=6), History(5, 6, 1)),
        (History(5, 6, 1), LoadReport(qps=1, cpu_utilization=0.5, received=7), History(2, 7, 1)),
        (
            History(5, 6, 1),
            LoadReport(qps=1, cpu_utilization=0.5, received=186),
            History(2, 186, 186),
        ),
    ],
)
def test_a_report_is_taken_into_the_history(
    known: History | None, report: LoadReport | None, after: History | None
) -> None:
    (backend,) = backends(1)
    backend.load = report
    histories = {} if known is None else {backend.address: known}
    assert MeasuredWeights().take_in([backend], histories).get(backend.address) == after


def test_a_backend_that_is_missing_is_forgotten() -> None:
    one, other = backends(1, 1)
    histories = {b.address: History(1, 1, 1) for b in (one, other)}
    assert list(MeasuredWeights().take_in([one], histories)) == [one.address]


def test_an_update_period_below_a_tenth_of_a_second_is_taken_for_one() -> None:
    assert MeasuredWeights.from_config({"weightUpdatePeriod": "0.01s"}).update_period == 0.1


def test_the_defaults_are_those_of_grpc() -> None:
    assert MeasuredWeights.from_config({}) == MeasuredWeights(10.0, 180.0, 1.0, 1.0)
