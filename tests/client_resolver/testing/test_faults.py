import grpc
import pytest

from client_resolver.testing.faults import Fault


@pytest.mark.parametrize(
    ("share", "hit"),
    [
        (1.0, "++++++++++"),
        (0.5, "-+-+-+-+-+"),
        (0.3, "---+--+--+"),
        (0.1, "---------+"),
        (0.0, "----------"),
    ],
)
def test_the_share_that_is_hit_is_exact(share: float, hit: str) -> None:
    fault = Fault(share=share)
    assert "".join("+" if fault.hits("/a.B/C") else "-" for _ in range(10)) == hit


def test_a_fault_of_one_method_leaves_the_others_alone_and_does_not_count_them() -> None:
    fault = Fault(share=0.5, method="/a.B/C")
    assert [fault.hits(method) for method in ("/a.B/C", "/a.B/D", "/a.B/D", "/a.B/C")] == [
        *(False, False, False),
        True,
    ]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"share": 1.1}, "share is 1.1: from 0 to 1"),
        ({"share": -0.1}, "share is -0.1: from 0 to 1"),
        ({"delay": -1.0}, "delay is -1.0 s: 0 or more"),
        ({"code": grpc.StatusCode.OK}, "code is OK"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Fault(**wrong)  # type: ignore[arg-type]
