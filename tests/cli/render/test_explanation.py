"""An explanation as one screen."""

import pytest

from lookaside.cli.balancer.messages import Explained, ExplainedEndpoint
from lookaside.cli.render.explanation import screen


def endpoint(
    address: str, reason: str, *, listed: bool = False, weight: int = 100
) -> ExplainedEndpoint:
    return ExplainedEndpoint(address, listed, weight, reason, "", "", "", "", "", "")


def busy(count: int) -> list[ExplainedEndpoint]:
    return [endpoint(f"b{each}", "ready", listed=True) for each in range(count)]


def idle(count: int, reason: str = "not ready") -> list[ExplainedEndpoint]:
    return [endpoint(f"{reason[0]}{each}", reason) for each in range(count)]


def explained(
    *endpoints: ExplainedEndpoint,
    state: str = "present",
    version: int = 0,
    notes: tuple[str, ...] = (),
) -> Explained:
    return Explained("a.b", "s", state, "0123456789abcdef", version, notes, endpoints, {})


def shown(what: Explained, rows: int | None) -> tuple[list[str], list[str]]:
    """The addresses of the rows, and the lines after them."""
    table = screen(what, wide=False, aligned=False, rows=rows).partition("\n\n")[2].splitlines()[1:]
    return (
        [line.partition("\t")[0] for line in table if "\t" in line],
        [line for line in table if "\t" not in line],
    )


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (explained(), "State     present; no endpoints"),
        (explained(*busy(1)), "State     present; 1 of 1 endpoint listed"),
        (explained(*idle(2), state="empty"), "State     empty; 0 of 2 endpoints listed"),
        (
            explained(*busy(2), state="stale"),
            (
                "State     stale: the balancer lost its source, and this is the last list it knew; "
                "2 of 2 endpoints listed"
            ),
        ),
    ],
)
def test_the_state_is_told_with_what_it_means(what: Explained, line: str) -> None:
    assert screen(what, wide=False, aligned=True).splitlines()[1] == line


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (explained(), "Revision  0123456789ab"),
        (explained(version=7), "Revision  0123456789ab, version 7"),
    ],
)
def test_a_digest_is_short(what: Explained, line: str) -> None:
    assert screen(what, wide=False, aligned=True).splitlines()[3] == line


def test_what_gets_no_requests_stands_first() -> None:
    zero = endpoint("z", "weight 0", listed=True, weight=0)

    assert shown(explained(*busy(2), zero, *idle(2)), None)[0] == ["n0", "n1", "z", "b0", "b1"]


@pytest.mark.parametrize(
    ("endpoints", "addresses", "rest"),
    [
        ([*busy(6), *idle(4)], 10, []),
        ([*busy(8), *idle(4)], 10, ["and 2 more: 2 ready. -o wide shows all."]),
        ([*busy(1000)], 10, ["and 990 more: 990 ready. -o wide shows all."]),
        (
            [*busy(1000), *idle(1000)],
            10,
            ["and 1990 more: 995 ready; 995 not ready. -o wide shows all."],
        ),
        ([*busy(2), *idle(1000)], 10, ["and 992 more: 992 not ready. -o wide shows all."]),
    ],
)
def test_many_are_folded_and_counted(
    endpoints: list[ExplainedEndpoint], addresses: int, rest: list[str]
) -> None:
    found, lines = shown(explained(*endpoints), 10)

    assert (len(found), lines) == (addresses, rest)


def test_a_rare_reason_is_not_folded_away() -> None:
    endpoints = [*idle(100), endpoint("odd", "its slice has no port"), *busy(100)]

    found, lines = shown(explained(*endpoints), 10)

    assert found == ["n0", "n1", "n2", "n3", "odd", "b0", "b1", "b2", "b3", "b4"]
    assert lines == ["and 191 more: 96 not ready; 95 ready. -o wide shows all."]


def test_many_reasons_are_counted_together() -> None:
    endpoints = [endpoint(str(each), f"reason {each:02}") for each in range(20)]

    assert shown(explained(*endpoints), 10)[1] == [
        (
            "and 10 more: 1 reason 10; 1 reason 11; 1 reason 12; 1 reason 13; 1 reason 14; "
            "5 other reasons. -o wide shows all."
        )
    ]


def test_notes_are_sentences_without_control_characters() -> None:
    what = explained(notes=("its slices\x1b[31m are bad", "Fine."))

    assert screen(what, wide=False, aligned=True).splitlines()[4:] == [
        "Notes     Its slices?[31m are bad.",
        "          Fine.",
    ]
