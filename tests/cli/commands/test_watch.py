"""`lookaside watch` as a process of its own."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from lookaside._pb import lookaside_pb2 as pb
from tests.cli.conftest import BOUND, COMMAND, Balancer, Process, server

Start = Callable[..., Process]


def without_time(line: str) -> str:
    time, _, rest = line.partition("  ")
    assert len(time) == len("12:00:00")
    return rest


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_changes_are_printed_until_a_signal(
    balancer: Balancer, start: Start, number: int, code: int
) -> None:
    balancer.send(server("10.0.0.1:80", zone="eu-1a"), server("10.0.0.2:80"))
    process = start("watch", "greeter")

    assert [without_time(process.out()) for _ in range(3)] == [
        "greeter.shop  2 endpoints",
        "greeter.shop  + 10.0.0.1:80  weight 100  zone eu-1a",
        "greeter.shop  + 10.0.0.2:80  weight 100",
    ]

    balancer.send(server("10.0.0.1:80", 50, zone="eu-1a"), server("10.0.0.3:80"))
    assert [without_time(process.out()) for _ in range(3)] == [
        "greeter.shop  - 10.0.0.2:80",
        "greeter.shop  ~ 10.0.0.1:80  weight 100 -> 50",
        "greeter.shop  + 10.0.0.3:80  weight 100",
    ]

    assert process.end(number) == code
    assert process.rest("err") == []


def test_json_is_a_document_a_line(balancer: Balancer, start: Start) -> None:
    balancer.send(state=pb.STATE_ABSENT)
    balancer.send(server("10.0.0.1:80"))
    process = start("watch", "greeter", "-o", "json")

    first, second = (json.loads(process.out()) for _ in range(2))

    assert (first["state"], first["servers"]) == ("STATE_ABSENT", [])
    assert second["servers"][0]["address"] == "10.0.0.1:80"


def test_yaml_is_a_document_after_dashes(balancer: Balancer, start: Start) -> None:
    balancer.send(server("10.0.0.1:80"))
    process = start("watch", "greeter", "-o", "yaml")

    lines = [process.out() for _ in range(3)]

    assert lines == ["---", "servers:", "- address: 10.0.0.1:80"]


def test_wide_tells_all_of_an_endpoint(balancer: Balancer, start: Start) -> None:
    balancer.send(server("10.0.0.1:80", zone="eu-1a", version="v2"))
    process = start("watch", "greeter", "-o", "wide")
    process.out()

    assert without_time(process.out()) == (
        "greeter.shop  + 10.0.0.1:80  weight 100  zone eu-1a  node n1  metadata version=v2"
    )


def test_a_list_that_becomes_empty_says_why(balancer: Balancer, start: Start) -> None:
    balancer.explanations["greeter"] = pb.ExplainResponse(
        state=pb.STATE_EMPTY,
        endpoints=[pb.EndpointExplanation(address="10.0.0.1:80", reason="not ready")],
    )
    balancer.send(server("10.0.0.1:80"))
    balancer.send(state=pb.STATE_EMPTY)
    process = start("watch", "greeter")

    assert [without_time(process.out()) for _ in range(4)][2:] == [
        "greeter.shop  exists and has no endpoints: 1 not ready",
        "greeter.shop  - 10.0.0.1:80",
    ]


def test_what_there_is_of_a_service_that_is_not_there_is_told(
    balancer: Balancer, start: Start
) -> None:
    balancer.absences["greter.shop"] = "; EndpointSlice a names it, but there is no such Service"
    balancer.summaries = [pb.ServiceSummary(service="greeter.shop")]
    balancer.send(state=pb.STATE_ABSENT)
    process = start("watch", "greter.shop")

    assert without_time(process.out()) == (
        "greeter.shop  there is no such service yet: EndpointSlice a names it, but there is no "
        "such Service; did you mean greeter.shop?"
    )


def test_a_service_that_is_not_there_is_met_with_what_may_have_been_meant(
    balancer: Balancer, start: Start
) -> None:
    balancer.summaries = [pb.ServiceSummary(service="greeter.shop")]
    balancer.send(state=pb.STATE_ABSENT)
    balancer.send(server("10.0.0.1:80"))
    process = start("watch", "greter.shop")

    assert [without_time(process.out()) for _ in range(2)] == [
        "greeter.shop  there is no such service yet: did you mean greeter.shop?",
        "greeter.shop  1 endpoint",
    ]


def test_a_balancer_that_comes_back_is_found_again(balancer: Balancer, start: Start) -> None:
    balancer.send(server("10.0.0.1:80"))
    process = start("watch", "greeter")
    process.out()
    process.out()

    balancer.stop()
    lost = process.err()
    assert lost.startswith(f"greeter: can't reach the balancer at {balancer.address}: ")
    assert lost.endswith("; the list above still holds; trying again")

    balancer.send(server("10.0.0.1:80"), server("10.0.0.2:80"))
    balancer.start()
    assert process.err() == "greeter: the balancer is back"
    assert without_time(process.out()) == "greeter.shop  + 10.0.0.2:80  weight 100"


def test_a_balancer_that_is_not_there_yet_is_waited_for(balancer: Balancer, start: Start) -> None:
    balancer.stop()
    process = start("watch", "greeter")
    assert process.err() == (
        f"greeter: can't reach the balancer at {balancer.address}: connection refused; --address "
        "or LOOKASIDE_ADDRESS says where it is; trying again"
    )

    balancer.send(server("10.0.0.1:80"))
    balancer.start()
    assert without_time(process.out()) == "greeter.shop  1 endpoint"


def test_a_watch_that_the_balancer_ends_is_opened_again_without_a_word(
    balancer: Balancer, start: Start
) -> None:
    balancer.send(server("10.0.0.1:80"))
    balancer.items.put(None)
    balancer.send(server("10.0.0.1:80"))
    balancer.send(server("10.0.0.1:80"), server("10.0.0.2:80"))
    process = start("watch", "greeter")

    lines = [without_time(process.out()) for _ in range(3)]

    assert lines[2] == "greeter.shop  + 10.0.0.2:80  weight 100"
    assert balancer.asked == ["greeter", "greeter"]
    assert process.end(signal.SIGTERM) == 143
    assert process.rest("err") == []


def test_what_trying_again_cannot_help_ends_it(balancer: Balancer, start: Start) -> None:
    balancer.items.put((grpc.StatusCode.INVALID_ARGUMENT, "service name 'A': no"))
    process = start("watch", "A", "b")

    assert process.end() == 2
    assert process.rest("err") == ["Error: service name 'A': no"]


def test_several_services_are_watched_at_once(balancer: Balancer, start: Start) -> None:
    process = start("watch", "a", "b", "a")
    balancer.until_asked(2)

    assert process.end(signal.SIGTERM) == 143
    assert sorted(balancer.asked) == ["a", "b"]


def test_each_stream_shows_the_token_as_it_is_by_then(
    balancer: Balancer, start: Start, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    balancer.send(server("10.0.0.1:80"))
    arguments = ["--zone", "eu-1a", "--client-id", "me", "--subset-size", "3"]
    process = start("watch", "greeter", "--token-file", str(token), "--insecure-token", *arguments)
    process.out()

    token.write_text("new")
    balancer.items.put(None)
    balancer.until_asked(2)

    asked = pb.WatchServersRequest(
        service_name="greeter", client=pb.Client(id="me", zone="eu-1a"), subset_size=3
    )
    assert balancer.requests == [asked, asked]
    assert balancer.tokens == ["Bearer old", "Bearer new"]


def test_a_reader_that_goes_away_ends_it_quietly(balancer: Balancer) -> None:
    balancer.send(server("10.0.0.1:80"))
    process = subprocess.Popen(
        [*COMMAND, "watch", "greeter", "-o", "json", "--address", balancer.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        balancer.send(server("10.0.0.2:80"))

        assert process.wait(BOUND) == 1
        assert process.stderr.read() == b""
