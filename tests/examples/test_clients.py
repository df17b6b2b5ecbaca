"""The examples' clients run, against greeters and a balancer on this machine."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.examples.documents import EXAMPLES
from tests.examples.running import ROOT, Balancer, Program, answers, run, table

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
    client: str, greeters: list[str], balancer: Balancer, tmp_path: Path
) -> None:
    target = f"lookaside://{balancer.serve(endpoints('endpoints.yaml', greeters))}/{SERVICE}"
    shares = dict(zip(greeters, (400, 400, 200), strict=True))
    with _greeting(f"examples.{client}", target, tmp_path) as greeting:
        greeting.wait_for_round(lambda answered: _near(answered, shares))


def test_a_canary_gets_a_tenth_of_what_a_stable_backend_gets(
    greeters: list[str], balancer: Balancer, tmp_path: Path
) -> None:
    target = f"lookaside://{balancer.serve(endpoints('canary/endpoints.yaml', greeters))}/{SERVICE}"
    shares = dict(zip(greeters, (476, 476, 48), strict=True))
    with _greeting("examples.greeter.client", target, tmp_path) as greeting:
        greeting.wait_for_round(lambda answered: _near(answered, shares))


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


def test_strategy_4_greets_a_fixed_list(greeters: list[str], tmp_path: Path) -> None:
    target = f"static:///{','.join(greeters)}"
    with _greeting("examples.strategy_4_connections.client", target, tmp_path) as greeting:
        greeting.wait_for_round(lambda answered: answered.keys() == set(greeters))


def test_a_request_that_fails_is_told_and_makes_the_exit_code_1() -> None:
    command = [sys.executable, "-m"]
    arguments = ["static:///127.0.0.1:9", "--requests=1", "--timeout=1"]
    clients = [
        subprocess.Popen(
            [*command, f"examples.greeter.{client}", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for client in ("client", "client_aio")
    ]
    for client in clients:
        _, said = client.communicate(timeout=100)
        assert (client.returncode, said.partition("127")[0]) == (1, "failed: static:///")


IN_TURN = """
import contextlib, io, json, runpy, sys
target, *modules = sys.argv[1:]
sys.argv[1:] = [target]
ended = {}
for module in modules:
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        ended[module] = end.code, out.getvalue(), err.getvalue()
print(json.dumps(ended))
"""


def test_a_mistyped_target_is_one_line_and_makes_the_exit_code_2() -> None:
    clients = [
        "examples.greeter.client",
        "examples.greeter.client_aio",
        "examples.sticky.client",
        "examples.strategy_1_headless_dns.client",
        "examples.strategy_3_lookaside.client",
        "examples.strategy_4_connections.client",
    ]
    target = "lookasid://localhost:50052/greeter"
    # One after the other in one process, for its start costs most.
    command = [sys.executable, "-c", IN_TURN, target, *clients]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT, timeout=100)
    ended = json.loads(done.stdout)
    assert ended.keys() == set(clients)
    for code, out, err in ended.values():
        assert (code, out) == (2, "")
        assert err.startswith(f"failed: target '{target}': unknown")
        assert err.count("\n") == 1


def _greeting(client: str, target: str, folder: Path) -> Program:
    """Return a client that greets without end, a thousand times a round."""
    flags = ["--requests=1000", "--rounds=0", "--timeout=100"]
    return Program([sys.executable, "-m", client, target, *flags], folder / "client.log")


def _near(answered: Mapping[str, int], shares: Mapping[str, int]) -> bool:
    """Whether each has answered as often as it should by its weight, or nearly."""
    return answered.keys() == shares.keys() and all(
        abs(answered[one] - share) <= 5 for one, share in shares.items()
    )
