import pytest

from client_resolver.core.load import LoadReport


@pytest.mark.parametrize(
    ("report", "penalty", "weight"),
    [
        (LoadReport(qps=100, application_utilization=0.5), 1.0, 200),
        (LoadReport(qps=100, cpu_utilization=0.5), 1.0, 200),
        (LoadReport(qps=100, application_utilization=0.5, cpu_utilization=0.1), 1.0, 200),
        (LoadReport(qps=100, application_utilization=2.0), 1.0, 50),
        (LoadReport(qps=100, eps=50, cpu_utilization=0.5), 1.0, 100),
        (LoadReport(qps=100, eps=50, cpu_utilization=0.5), 3.0, 50),
        (LoadReport(qps=100, eps=50, cpu_utilization=0.5), 0.0, 200),
        (LoadReport(qps=100, eps=-50, cpu_utilization=0.5), 1.0, 200),
        (LoadReport(qps=100, mem_utilization=0.5), 1.0, 0),
        (LoadReport(cpu_utilization=0.5), 1.0, 0),
        (LoadReport(qps=float("nan"), cpu_utilization=0.5), 1.0, 0),
        (LoadReport(qps=100, cpu_utilization=float("nan")), 1.0, 0),
    ],
)
def test_the_weight_is_what_the_backend_would_serve_if_it_were_just_full(
    report: LoadReport, penalty: float, weight: float
) -> None:
    assert report.weight(penalty) == pytest.approx(weight)
