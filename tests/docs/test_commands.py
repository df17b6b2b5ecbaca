"""What readers are told to type is understood, and names files that are there."""

from itertools import pairwise
from pathlib import Path
from typing import Final

import click
import pytest

from lookaside.cli import main
from tests.docs.fences import PAGES, ROOT, Command, commands_of

_COMMANDS: Final = [command for page in PAGES for command in commands_of(page)]
_OF_FILES: Final = frozenset({"--config", "--filename", "--values", "--file"})
_PROGRAMS: Final = frozenset(
    {"docker", "grpcurl", "helm", "kind", "kubectl", "lookaside", "make", "pip", "python"}
    | {"go", "python3", "."}
)
_CHART: Final = "helm/lookaside"


def _of(program: str) -> list[Command]:
    return [command for command in _COMMANDS if command.program == program]


def _main() -> click.Context:
    """The context of the command itself, whose settings those of its commands are read with."""
    return main.make_context("lookaside", [], resilient_parsing=True)


def test_only_known_programs_are_typed() -> None:
    assert {command.program for command in _COMMANDS} <= _PROGRAMS


@pytest.mark.parametrize("command", _of("lookaside"), ids=str)
def test_lookaside_understands(command: Command) -> None:
    _, name, *arguments = command.words
    subcommand = main.commands[name]
    with _main() as parent:
        # Parses, and calls nothing: a wrong flag or argument is refused.
        subcommand.make_context(name, arguments, parent=parent).close()


def test_a_flag_that_is_not_there_is_refused() -> None:
    with _main() as parent, pytest.raises(click.NoSuchOption):
        main.commands["get"].make_context("get", ["greeter", "--colour"], parent=parent)


@pytest.mark.parametrize("command", _COMMANDS, ids=str)
def test_its_files_are_there(command: Command) -> None:
    words = command.words
    for flag, value in pairwise(words):
        # What begins with / is in a Pod.
        if flag in _OF_FILES and not value.startswith(("-", "/")):
            assert Path(ROOT, value).is_file(), f"{command}: {value}"
    if command.program == "helm" and words[1] in {"install", "upgrade"}:
        assert words[3] == _CHART
        assert Path(ROOT, _CHART, "Chart.yaml").is_file()
