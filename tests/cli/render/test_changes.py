"""What changed between two answers, as lines."""

import pytest

from lookaside.cli.balancer.messages import Server, ServerList
from lookaside.cli.render.changes import changes


def one(address: str, **facts: object) -> Server:
    values: dict[str, object] = {"weight": 100, "health": "ready", "zone": "", "node": ""}
    values |= {"metadata": (), **facts}
    return Server(address=address, **values)  # type: ignore[arg-type]


def listed(*servers: Server, state: str = "present") -> ServerList:
    return ServerList("a.b", state, servers, {})


A, B = one("a:1"), one("b:1")


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (None, listed(A), ["1 endpoint", "+ a:1  weight 100"]),
        (None, listed(state="empty"), ["exists and has no endpoints"]),
        (None, listed(state="absent"), ["there is no such service yet"]),
        (listed(A, B), listed(A, B), []),
        (listed(A, B), listed(B), ["- a:1"]),
        (listed(A), listed(state="empty"), ["exists and has no endpoints", "- a:1"]),
        (
            listed(A),
            listed(A, state="stale"),
            ["stale: the balancer lost its source, and this is the last list it knew"],
        ),
        (listed(A, state="stale"), listed(A), ["1 endpoint"]),
        (
            listed(state="absent"),
            listed(one("a:1", weight=5, zone="z", health="terminating")),
            ["1 endpoint", "+ a:1  weight 5  zone z  terminating"],
        ),
        (
            listed(A),
            listed(one("a:1", weight=0, zone="z", node="n", metadata=(("k", "v"),))),
            ["~ a:1  weight 100 -> 0  zone - -> z  node - -> n  metadata - -> k=v"],
        ),
        (
            listed(A),
            listed(one("a:1", health="terminating")),
            ["~ a:1  health ready -> terminating"],
        ),
        (
            listed(A, B, one("c:1")),
            listed(state="empty"),
            ["exists and has no endpoints", "- a:1", "- b:1", "- c:1"],
        ),
    ],
)
def test_what_changed_is_told_line_by_line(
    before: ServerList | None, after: ServerList, lines: list[str]
) -> None:
    assert list(changes(before, after)) == lines


def test_a_headline_is_told_with_its_reason() -> None:
    assert list(changes(None, listed(state="empty"), note="no Pod is ready")) == [
        "exists and has no endpoints: no Pod is ready"
    ]


def test_wide_tells_all_of_an_endpoint_that_came() -> None:
    came = one("a:1", zone="z", node="n", metadata=(("k", "v"), ("l", "w")))

    assert list(changes(None, listed(came), wide=True))[1] == (
        "+ a:1  weight 100  zone z  node n  metadata k=v,l=w"
    )
