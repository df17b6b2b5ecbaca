"""What more is said of a service that is unknown, or has no endpoints."""

import pytest

from lookaside.cli.balancer.messages import Explained, ExplainedEndpoint
from lookaside.cli.commands.hints import did_you_mean, near_misses, why_empty

KNOWN = ["greeter.shop:grpc", "greeter.shop:web", "greeter.test", "cart.shop", "payments.shop"]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("greeter", ["greeter.shop", "greeter.test"]),
        ("greeter.prod:grpc", ["greeter.shop", "greeter.test"]),
        ("greter", ["greeter.shop", "greeter.test"]),
        ("greter.test", ["greeter.test", "greeter.shop"]),
        ("crat.shop", ["cart.shop"]),
        ("payment.shop.svc.cluster.local", ["payments.shop"]),
        ("zzz", []),
        ("", []),
    ],
)
def test_the_services_that_are_most_alike_may_have_been_meant(asked: str, names: list[str]) -> None:
    assert near_misses(asked, KNOWN) == names


@pytest.mark.parametrize(
    ("names", "question"),
    [
        ([], "lookaside list shows those that are"),
        (["a.b"], "did you mean a.b?"),
        (["a.b", "c.d"], "did you mean a.b or c.d?"),
        (["a.b", "c.d", "e.f"], "did you mean a.b, c.d or e.f?"),
        (["a\x1b.b"], "did you mean a?.b?"),
    ],
)
def test_it_is_asked_which_was_meant(names: list[str], question: str) -> None:
    assert did_you_mean(names) == question


def endpoint(reason: str, *, listed: bool = False) -> ExplainedEndpoint:
    return ExplainedEndpoint("10.0.0.1:80", listed, 100, reason, "", "", "", "", "", "")


def explained(*endpoints: ExplainedEndpoint, notes: tuple[str, ...] = ()) -> Explained:
    return Explained("a.b", "kubernetes", "empty", "", 0, notes, endpoints, {})


@pytest.mark.parametrize(
    ("explanation", "why"),
    [
        (explained(), ""),
        (explained(notes=("no Pod matches.", "no ports")), "no Pod matches; no ports"),
        (
            explained(
                endpoint("terminating"),
                endpoint("not ready"),
                endpoint("not ready"),
                endpoint("ready", listed=True),
                notes=("so it is",),
            ),
            "2 not ready; 1 terminating; so it is",
        ),
    ],
)
def test_a_list_is_empty_for_what_its_endpoints_are_left_out_for(
    explanation: Explained, why: str
) -> None:
    assert why_empty(explanation) == why
