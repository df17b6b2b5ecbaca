"""The examples' clients run, against greeters and a balancer on this machine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.documents import EXAMPLES
from tests.examples.running import ROOT, Balancer, answers, run, table

LOCAL = ["127.0.0.1:50061", "127.0.0.1:50062", "127.0.0.1:50063"]
SERVICE = "greeter.grpc-services"


def endpoints(name: str, greeters: list[str]) -> str:
    """Return an endpoints file of the examples, with other greeters in it."""
    text = Path(EXAMPLES, name).read_text()
    for local, greeter in zip(LOCAL, greeters, strict=True):
        assert text.count(local) == 1
        text = text.replace(local, greeter)
    return text


@pytest.mark.parametrize("client", ["greeter.client", "greeter.client_aio"])
def test_a_client_greets_all_backends_of_the_endpoints_file_by_their_weights(
    client: str, greeters: list[str], balancer: Balancer
) -> None:
    target = f"lookaside://{balancer.serve(endpoints('endpoints.yaml', greeters))}/{SERVICE}"
    first, second, half = _few_and_many(client, target, greeters)
    assert abs(first - 400) <= 20
    assert abs(second - 400) <= 20
    assert abs(half - 200) <= 20


def test_a_canary_gets_a_tenth_of_what_a_stable_backend_gets(
    greeters: list[str], balancer: Balancer
) -> None:
    target = f"lookaside://{balancer.serve(endpoints('canary/endpoints.yaml', greeters))}/{SERVICE}"
    first, second, canary = _few_and_many("greeter.client", target, greeters)
    assert abs(first - 476) <= 20
    assert abs(second - 476) <= 20
    assert abs(canary - 48) <= 10


def test_a_session_stays_with_its_backend(greeters: list[str], balancer: Balancer) -> None:
    target = f"lookaside://{balancer.serve(endpoints('endpoints.yaml', greeters))}/{SERVICE}"
    said = run("examples.sticky.client", target, "--requests=100")
    assert len(re.findall(r"^session-\d +\S+$", said, re.MULTILINE)) == 10
    assert sum(table(said).values()) == 100


@pytest.mark.parametrize("client", ["client", "plain_client"])
def test_strategy_1_greets_the_addresses_of_a_name(client: str, greeters: list[str]) -> None:
    address = greeters[0]
    port = address.rpartition(":")[2]
    module = f"examples.strategy_1_headless_dns.{client}"
    assert answers(module, f"dns:///localhost:{port}") == {address: 100}


def test_strategy_3_greets_what_a_balancer_lists(
    greeters: list[str], balancer: Balancer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    client = "examples.strategy_3_lookaside.client"
    target = f"lookaside://{balancer.serve(endpoints('endpoints.yaml', greeters))}/{SERVICE}"
    assert sum(answers(client, target).values()) == 100
    balancer.stop()
    # With the list that was kept, a start needs no balancer.
    assert sum(answers(client, target).values()) == 100


def test_strategy_4_greets_a_fixed_list(greeters: list[str]) -> None:
    target = f"static:///{','.join(greeters)}"
    answered = answers("examples.strategy_4_connections.client", target, "--requests=300")
    assert answered.keys() == set(greeters)
    assert sum(answered.values()) == 300


@pytest.mark.parametrize("client", ["greeter.client", "greeter.client_aio"])
def test_a_request_that_fails_is_told_and_makes_the_exit_code_1(client: str) -> None:
    with pytest.raises(AssertionError, match="failed: static:///127"):
        run(f"examples.{client}", "static:///127.0.0.1:9", "--requests=1")


@pytest.mark.parametrize(
    "client",
    [
        "greeter.client",
        "greeter.client_aio",
        "sticky.client",
        "strategy_1_headless_dns.client",
        "strategy_3_lookaside.client",
        "strategy_4_connections.client",
    ],
)
def test_a_mistyped_target_is_one_line_and_makes_the_exit_code_2(client: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{client}", "lookasid://localhost:50052/greeter"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("failed: target 'lookasid://localhost:50052/greeter': unknown")
    assert done.stderr.count("\n") == 1


def _few_and_many(client: str, target: str, greeters: list[str]) -> list[int]:
    """Greet until all are connected, then a thousand times; who answered those, in order."""
    said = run(f"examples.{client}", target, "--requests=1000", "--rounds=2")
    rounds = said.split("1000 answers\n")
    assert len(rounds) == 3
    answered = table(rounds[2])
    return [answered[each] for each in greeters]
