"""`lookaside explain` against a balancer."""

import json
from collections.abc import Callable

import pytest
import yaml
from click.testing import Result

from lookaside._pb import lookaside_pb2 as pb
from lookaside.cli.render import output
from tests.cli.conftest import Balancer

Run = Callable[..., Result]


def endpoint(address: str, reason: str, *, listed: bool, **more: object) -> pb.EndpointExplanation:
    values: dict[str, object] = {"weight": 100, "weight_origin": "default", **more}
    return pb.EndpointExplanation(address=address, listed=listed, reason=reason, **values)  # type: ignore[arg-type]


GREETER = pb.ExplainResponse(
    service="greeter.shop:grpc",
    source="kubernetes",
    state=pb.STATE_PRESENT,
    revision=pb.Revision(digest="0123456789abcdef", version=712, epoch="e"),
    notes=["EndpointSlice greeter-b: endpoint 3 has no address"],
    endpoints=[
        endpoint(
            "10.0.0.1:50051",
            "ready",
            listed=True,
            target="Pod greeter-1",
            slice="greeter-a",
            resource_version="700",
            locality=pb.Locality(zone="eu-1a", node="n1"),
        ),
        endpoint(
            "10.0.0.2:50051",
            "ready; weight 0: no new requests",
            listed=True,
            weight=0,
            weight_origin="Pod annotation",
            target="Pod greeter-2",
            slice="greeter-a",
            resource_version="700",
        ),
        endpoint(
            "10.0.0.3:50051",
            "not ready",
            listed=False,
            target="Pod greeter-3",
            slice="greeter-b",
            resource_version="712",
        ),
    ],
)


@pytest.fixture(autouse=True)
def _known(balancer: Balancer) -> None:
    balancer.explanations["greeter"] = GREETER


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)


@pytest.mark.usefixtures("_terminal")
def test_one_screen_says_why_a_pod_gets_no_requests(run: Run) -> None:
    result = run("explain", "greeter")

    assert result.exit_code == 0
    assert result.stdout == (
        "Service   greeter.shop:grpc\n"
        "State     present; 2 of 3 endpoints listed\n"
        "Source    kubernetes\n"
        "Revision  0123456789ab, version 712\n"
        "Notes     EndpointSlice greeter-b: endpoint 3 has no address.\n"
        "\n"
        "ADDRESS         LISTED  WEIGHT  REASON                            TARGET\n"
        "10.0.0.3:50051  no      100     not ready                         Pod greeter-3\n"
        "10.0.0.2:50051  yes     0       ready; weight 0: no new requests  Pod greeter-2\n"
        "10.0.0.1:50051  yes     100     ready                             Pod greeter-1\n"
    )
    assert result.stderr == ""


def test_wide_shows_where_it_runs_and_where_it_is_from(run: Run) -> None:
    table = run("explain", "greeter", "-o", "wide").stdout.partition("\n\n")[2]

    head, third, second, first = (line.split("\t") for line in table.splitlines())
    assert head[5:] == ["ZONE", "NODE", "SLICE", "VERSION", "WEIGHT FROM"]
    assert third[5:] == ["-", "-", "greeter-b", "712", "default"]
    assert second[5:] == ["-", "-", "greeter-a", "700", "Pod annotation"]
    assert first[5:] == ["eu-1a", "n1", "greeter-a", "700", "default"]


@pytest.mark.usefixtures("_terminal")
def test_an_empty_list_says_why_in_its_notes(balancer: Balancer, run: Run) -> None:
    balancer.explanations["idle"] = pb.ExplainResponse(
        service="idle.x",
        source="kubernetes",
        state=pb.STATE_EMPTY,
        revision=pb.Revision(digest="ab12"),
        notes=[
            "its EndpointSlices have no endpoints: no Pod matches the Service's selector",
            "the Service has no ports: nothing can be dialled.",
        ],
    )

    assert run("explain", "idle").stdout == (
        "Service   idle.x\n"
        "State     empty; no endpoints\n"
        "Source    kubernetes\n"
        "Revision  ab12\n"
        "Notes     Its EndpointSlices have no endpoints: no Pod matches the Service's selector.\n"
        "          The Service has no ports: nothing can be dialled.\n"
    )


def test_a_pipe_gets_tabs_and_every_row(balancer: Balancer, run: Run) -> None:
    balancer.explanations["many"] = pb.ExplainResponse(
        endpoints=[endpoint(f"10.0.0.{each}:1", "ready", listed=True) for each in range(200)]
    )

    lines = run("explain", "many").stdout.splitlines()

    assert lines[-1] == "10.0.0.199:1\tyes\t100\tready\t-"
    assert len(lines) == 4 + 1 + 1 + 200


def test_json_is_that_of_the_message(run: Run) -> None:
    document = json.loads(run("explain", "greeter", "-o", "json").stdout)

    assert [each["address"] for each in document["endpoints"]] == [
        each.address for each in GREETER.endpoints
    ]
    assert document["endpoints"][2] == {
        "address": "10.0.0.3:50051",
        "listed": False,
        "reason": "not ready",
        "slice": "greeter-b",
        "resourceVersion": "712",
        "weight": 100,
        "weightOrigin": "default",
        "target": "Pod greeter-3",
    }
    assert yaml.safe_load(run("explain", "greeter", "-o", "yaml").stdout) == document


def test_it_is_explained_as_a_client_gets_it(balancer: Balancer, run: Run) -> None:
    run("explain", "greeter", "--zone", "eu-1a", "--node", "n1")
    run("explain", "greeter", "--client-id", "me", "--subset-size", "3")

    assert balancer.requests == [
        pb.ExplainRequest(service_name="greeter", client=pb.Client(zone="eu-1a", node="n1")),
        pb.ExplainRequest(service_name="greeter", client=pb.Client(id="me"), subset_size=3),
    ]


def test_an_unknown_service_is_one_sentence_and_code_3(run: Run) -> None:
    result = run("explain", "nothing")

    assert (result.exit_code, result.stdout) == (3, "")
    assert (
        result.stderr
        == "Error: service nothing is not known; lookaside list shows those that are\n"
    )
