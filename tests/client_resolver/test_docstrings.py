"""Every example in a docstring of the package runs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver import testing

PACKAGE = Path(client_resolver.__file__).parent
FENCE = re.compile(r"(?ms)^```\s*(?P<language>\w*)$\n(?P<text>.*?)^```$")
CODE = re.compile(
    r"(?m)^ +(?:(?:async )?(?:def|with|for) .*:|class \w+.*:|import \w+|from \S+ import .*)$"
)
NESTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.get_docstring(node) if isinstance(node, NESTED) else None
            if text:
                yield f"{path.relative_to(PACKAGE)}:{getattr(node, 'name', 'module')}", text


DOCSTRINGS = dict(docstrings())
EXAMPLES = [
    pytest.param(match["text"], id=f"{name}-{number}")
    for name, text in DOCSTRINGS.items()
    for number, match in enumerate(FENCE.finditer(text))
    if match["language"] == "python"
]


def test_code_in_a_docstring_stands_in_a_fence() -> None:
    bare = {name: CODE.findall(FENCE.sub("", text)) for name, text in DOCSTRINGS.items()}
    assert {name: code for name, code in bare.items() if code} == {}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, tmp_path: Path) -> None:
    with testing.Backends(2) as backends:
        first, second = (backend.address for backend in backends)
        (tmp_path / "greeters").write_text(f"{first}\n{second}\n")
        for there, here in [
            ("127.0.0.1:50061", first),
            ("127.0.0.1:50062", second),
            ("/etc/greeters", str(tmp_path / "greeters")),
        ]:
            example = example.replace(there, here)
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(example, "example", "exec"), names)
        channel = names.get("channel")
        if channel is not None:
            with channel:
                # The channel may have been closed by the example.
                if channel.snapshot().state is not client_resolver.Connectivity.SHUTDOWN:
                    grpc.channel_ready_future(channel).result(20)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
