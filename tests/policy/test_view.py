import pytest

from lookaside.model import Endpoint, Hints, PortList
from lookaside.policy.topology import Place, reach
from lookaside.policy.view import WHOLE, View

ENDPOINTS = tuple(Endpoint(f"10.0.0.{n}", 1) for n in range(6))
ZONED = tuple(Hints(zones=("ab"[n % 2],)) for n in range(6))


@pytest.mark.parametrize(
    ("view", "hints", "narrow"),
    [
        (View(Place("a", "n1")), (), WHOLE),
        (View(Place("a", "n1")), ZONED, View(Place("a"))),
        (View(Place("c", "n1")), ZONED, WHOLE),
        (View(Place("a"), 0, "me"), ZONED, View(Place("a"))),
        (View(Place("a"), 2, "me"), ZONED, View(Place("a"), 2, "me")),
        (View(Place("a"), 3, "me"), ZONED, View(Place("a"))),
        (View(Place(), 5, "me"), (), View(Place(), 5, "me")),
        (View(Place(), 6, "me"), (), WHOLE),
    ],
)
def test_a_view_is_narrowed_to_what_matters(
    view: View, hints: tuple[Hints, ...], narrow: View
) -> None:
    whole = PortList(ENDPOINTS, hints)
    assert view.narrowed(whole) == narrow
    assert view.narrowed(whole, reach(whole)) == narrow


def test_a_subset_is_taken_of_the_endpoints_near_the_client() -> None:
    whole = PortList(ENDPOINTS, ZONED)
    found = View(Place("a"), 2, "me").narrowed(whole).of(whole)
    assert len(found) == 2
    assert set(found) < set(ENDPOINTS[::2])


def test_who_sees_all_gets_the_very_same_list() -> None:
    assert WHOLE.of(PortList(ENDPOINTS, ZONED)) is ENDPOINTS
