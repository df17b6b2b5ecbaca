"""kube-proxy's order of hints, a table of cases: hints and a client's place in, endpoints out."""

import pytest

from lookaside.model import Endpoint, Hints, PortList
from lookaside.policy.topology import (
    ANYWHERE,
    ELSEWHERE,
    Place,
    joined,
    reach,
    relevant,
    select,
)

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
    whole = PortList(endpoints, tuple(hints))
    found = relevant(reach(whole), place)
    assert found == decisive
    assert select(whole, found) == tuple(endpoints[index] for index in expected)


@pytest.mark.parametrize(
    ("place", "decisive", "expected"),
    [
        (Place(node="n1"), Place(node="n1"), ["10.0.0.1"]),
        (Place("a", "n2"), Place(node="n2"), ["10.0.0.2"]),
        (Place("a", "n3"), ELSEWHERE, []),
        (Place(node="*"), ELSEWHERE, []),
        (Place("a"), ANYWHERE, ["10.0.0.1", "10.0.0.3"]),
        (ANYWHERE, ANYWHERE, ["10.0.0.1", "10.0.0.3"]),
    ],
)
def test_a_list_that_goes_by_nodes_is_that_of_the_clients_node_alone(
    place: Place, decisive: Place, expected: list[str]
) -> None:
    one, two, three = (Endpoint(f"10.0.0.{number}", 1) for number in (1, 2, 3))
    whole = PortList((one, three), own={"n1": (one,), "n2": (two,)})
    found = relevant(reach(whole), place)
    assert found == decisive
    assert [endpoint.address for endpoint in select(whole, found)] == expected


@pytest.mark.parametrize(
    "hints",
    [
        [A, B, BOTH, A],
        [A, B, NONE, A],
        [NONE, A, A, B],
        [N1, N2, N1, N1],
        [A1, B2, A, A],
        [NONE] * 4,
    ],
)
def test_a_list_reaches_where_its_parts_do_together(hints: list[Hints]) -> None:
    endpoints = tuple(Endpoint(f"10.0.0.{n}", 1) for n in range(4))
    whole = PortList(endpoints, tuple(hints))
    parts = [PortList(endpoints[n : n + 2], tuple(hints[n : n + 2])) for n in (0, 2)]
    assert joined([reach(part) for part in parts]) == reach(whole)
    assert joined([]) == reach(PortList())
