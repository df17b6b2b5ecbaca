"""kube-proxy's order of hints, a table of cases: hints and a client's place in, endpoints out."""

import pytest

from lookaside.model import Endpoint, Hints
from lookaside.policy.topology import ANYWHERE, Place, reach, relevant, select

NONE = Hints()
A, B, BOTH = Hints(zones=("a",)), Hints(zones=("b",)), Hints(zones=("a", "b"))
N1, N2 = Hints(nodes=("n1",)), Hints(nodes=("n2",))
A1, B2 = Hints(("a",), ("n1",)), Hints(("b",), ("n2",))

CASES: dict[str, tuple[list[Hints], Place, Place, list[int]]] = {
    "no hints": ([], Place("a", "n1"), ANYWHERE, []),
    "the client's zone": ([A, B], Place("a"), Place("a"), [0]),
    "an endpoint for several zones": ([A, BOTH, B], Place("b"), Place("b"), [1, 2]),
    "no endpoint for the client's zone": ([A, B], Place("c"), ANYWHERE, [0, 1]),
    "a client of unknown place": ([A, B], Place(), ANYWHERE, [0, 1]),
    "one endpoint without a hint": ([A, B, NONE], Place("a"), ANYWHERE, [0, 1, 2]),
    "the client's node": ([N1, N2], Place("a", "n1"), Place(node="n1"), [0]),
    "node before zone": ([A1, B2], Place("a", "n2"), Place(node="n2"), [1]),
    "the zone where no endpoint is for the node": ([A1, B2], Place("b", "n3"), Place("b"), [1]),
    "the zone where one endpoint has no node": ([A1, A, B2], Place("a", "n2"), Place("a"), [0, 1]),
    "nodes alone, and none is the client's": ([N1, N2], Place("a", "n3"), ANYWHERE, [0, 1]),
    "a zone of one endpoint, a node of the other": ([A, N2], Place("a", "n2"), ANYWHERE, [0, 1]),
}


@pytest.mark.parametrize("case", CASES)
def test_hints_choose_endpoints_as_kube_proxy_does(case: str) -> None:
    hints, place, decisive, expected = CASES[case]
    endpoints = tuple(Endpoint(f"10.0.0.{index}", 1) for index in range(len(hints)))
    found = relevant(reach(hints), place)
    assert found == decisive
    assert select(endpoints, hints, found) == tuple(endpoints[index] for index in expected)
