import pytest

from client_resolver.core.backend import Backend
from client_resolver.core.model import Connectivity
from tests.client_resolver.core.pooling import endpoint


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "<10.0.0.1:7 IDLE, weight 3, 0 in flight>"),
        (
            {"connectivity": Connectivity.READY, "ejected_until": 5.0},
            "<10.0.0.1:7 READY, ejected, weight 3, 0 in flight>",
        ),
        ({"draining": True}, "<10.0.0.1:7 draining, weight 3, 0 in flight>"),
    ],
)
def test_its_repr_tells_an_operator_how_it_is(changes: dict[str, object], text: str) -> None:
    subject: Backend[object] = Backend(endpoint(7, weight=3))
    for name, value in changes.items():
        setattr(subject, name, value)
    assert repr(subject) == text


def test_the_repr_has_the_weight_of_the_list_not_the_one_at_present() -> None:
    subject: Backend[object] = Backend(endpoint(7, weight=3))
    subject.weight = 150
    assert "weight 3" in repr(subject)
