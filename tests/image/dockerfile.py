"""Reads a Dockerfile: its stages and their instructions, with the variables that hold."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_VARIABLE = re.compile(r"\$\{(\w+)(?::\+((?:[^{}]|\{[^}]*\})*))?\}")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        name: Its name, in capitals.
        text: What follows it, on one line.
    """

    name: str
    text: str

    def words(self) -> list[str]:
        """Return the strings of its JSON form."""
        words = json.loads(self.text)
        assert isinstance(words, list)
        return words


@dataclass(frozen=True)
class Stage:
    """One stage: what it begins with, and its other instructions."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[Instruction]:
        """Return its instructions of one name."""
        return [each for each in self.instructions if each.name == name]

    def one(self, name: str) -> Instruction:
        """Return its only instruction of one name."""
        (found,) = self.all(name)
        return found


@dataclass(frozen=True)
class Dockerfile:
    """A whole file.

    Attributes:
        arguments: The values that its ARGs before the first stage have by themselves.
        stages: Its stages by name, in order.
    """

    arguments: Mapping[str, str]
    stages: dict[str, Stage]

    @classmethod
    def read(cls, path: Path) -> "Dockerfile":
        """Read a file."""
        arguments: dict[str, str] = {}
        stages: dict[str, Stage] = {}
        for each in _instructions(path.read_text()):
            if each.name == "FROM":
                base, _, name = each.text.partition(" AS ")
                stages[name] = Stage(name, base, ())
            elif not stages:
                assert each.name == "ARG", f"{each} stands before the first stage"
                name, _, value = each.text.partition("=")
                arguments[name] = value
            else:
                last = stages[next(reversed(stages))]
                held = (*last.instructions, each)
                stages[last.name] = Stage(last.name, last.base, held)
        return cls(arguments, stages)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put in variables as an engine does: `${NAME}`, and `${NAME:+TEXT}` for TEXT if it is set."""

    def value(match: re.Match[str]) -> str:
        found = variables[match[1]]
        if match[2] is None:
            return found
        return expand(match[2], variables) if found else ""

    return _VARIABLE.sub(value, text)


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = [line.split(maxsplit=1) for line in joined.splitlines()]
    return [Instruction(name.upper(), rest) for name, rest in parts]
