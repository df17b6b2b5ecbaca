import pytest

from client_resolver.call.load_report import load_report_text


@pytest.mark.parametrize(
    "text",
    [
        'JSON {"cpu_utilization": 0.5, "rps_fractional": 7, "utilization": {"gpu": 0.25}, "a": 1}',
        'JSON {"cpuUtilization": 0.5, "rpsFractional": 7, "utilization": {"gpu": 0.25}}',
        "TEXT cpu_utilization=0.5, rps_fractional=7,utilization.gpu=0.25,named_metrics.x=1",
        "BIN CQAAAAAAAOA/Kg4KA2dwdREAAAAAAADQPzEAAAAAAAAcQA==",
    ],
)
def test_a_load_report_is_read_from_every_form_of_text(text: str) -> None:
    report = load_report_text(text, 3.0)
    assert report is not None
    assert (report.cpu_utilization, report.qps, report.received) == (0.5, 7.0, 3.0)
    assert report.utilization == {"gpu": 0.25}


@pytest.mark.parametrize(
    "text",
    [
        *("", "cpu_utilization=0.5", "JSON {", "JSON []", 'JSON {"eps": "x"}', "TEXT eps"),
        *("TEXT eps=x", "BIN ?", "BIN /w=="),
    ],
)
def test_a_malformed_load_report_is_none(text: str) -> None:
    assert load_report_text(text, 3.0) is None
