"""Completion by shells."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from lookaside._pb import lookaside_pb2 as pb
from lookaside.cli import main
from tests.cli.conftest import Balancer

SHELLS = ["bash", "zsh", "fish"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_its_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])

    assert (result.exit_code, result.stderr) == (0, "")
    assert f"_LOOKASIDE_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_the_shell_can_read(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    script = CliRunner().invoke(main, ["completion", shell]).stdout

    subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_fish_shows_all_of_what_is_said_of_a_command() -> None:
    script = CliRunner().invoke(main, ["completion", "fish"]).stdout

    assert '(string split --max 1 "," $completion)' in script


def test_another_shell_is_refused_with_those_that_are_known() -> None:
    result = CliRunner().invoke(main, ["completion", "tcsh"])

    assert result.exit_code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in result.stderr


@pytest.fixture
def complete(balancer: Balancer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Complete a line as bash does; returns the words that are offered."""
    monkeypatch.setenv("LOOKASIDE_ADDRESS", balancer.address)
    balancer.summaries = [
        pb.ServiceSummary(service=name) for name in ("greeter.shop", "grocer.shop", "cart.shop")
    ]

    def offered(line: str) -> list[str]:
        words = line.split(" ")
        environment = {
            "_LOOKASIDE_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
        result: Result = CliRunner().invoke(main, prog_name="lookaside", env=environment)
        return [each.partition(",")[2] for each in result.stdout.split()]

    return offered


def test_commands_flags_and_choices_are_completed(complete: Callable[..., list[str]]) -> None:
    assert complete("lookaside ex") == ["explain"]
    assert complete("lookaside get --tok") == ["--token-file"]
    assert complete("lookaside get -o y") == ["yaml"]


@pytest.mark.parametrize("command", ["get", "explain", "watch cart.shop"])
def test_services_are_those_of_the_balancer(
    complete: Callable[..., list[str]], command: str
) -> None:
    assert complete(f"lookaside {command} gr") == ["greeter.shop", "grocer.shop"]


def test_a_balancer_on_the_line_is_the_one_that_is_asked(
    complete: Callable[..., list[str]], balancer: Balancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKASIDE_ADDRESS", "127.0.0.1:1")

    assert complete(f"lookaside get --address {balancer.address} c") == ["cart.shop"]


@pytest.mark.parametrize(
    "flags",
    [
        "--address 127.0.0.1:1",
        "--address nonsense",
        f"--cacert {__file__}",
        f"--token-file {os.devnull}",
    ],
)
def test_a_balancer_that_can_not_be_asked_offers_nothing_and_says_nothing(
    complete: Callable[..., list[str]], flags: str
) -> None:
    assert complete(f"lookaside get {flags} gr") == []


def test_it_is_completed_in_a_process_as_a_shell_starts_it(balancer: Balancer) -> None:
    balancer.summaries = [pb.ServiceSummary(service="greeter.shop")]
    done = subprocess.run(
        [sys.executable, "-c", "from lookaside.cli import main; main(prog_name='lookaside')"],
        env={
            "_LOOKASIDE_COMPLETE": "zsh_complete",
            "COMP_WORDS": "lookaside get ",
            "COMP_CWORD": "2",
            "LOOKASIDE_ADDRESS": balancer.address,
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.splitlines() == ["plain", "greeter.shop", "_"]
    assert done.stderr == ""
