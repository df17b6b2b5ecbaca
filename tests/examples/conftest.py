import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.examples.running import Program


@pytest.fixture(scope="session")
def greeters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of three greeters of the examples, for all tests."""
    folder = tmp_path_factory.mktemp("greeters")
    command = [sys.executable, "-m", "examples.greeter.server"]
    flags = ["--listen=127.0.0.1:0", "--linger=0"]
    with ExitStack() as stack:
        running = [
            stack.enter_context(Program([*command, *flags], folder / f"{number}.log"))
            for number in range(3)
        ]
        yield [each.wait_for(r"(?m)^(127\.0\.0\.1:\d+)$") for each in running]


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Runs the service on the text of an endpoints file; its address."""
    with ExitStack() as stack:

        def start(endpoints: str) -> str:
            (tmp_path / "endpoints.yaml").write_text(endpoints)
            flags = ["--source", f"file:{tmp_path}/endpoints.yaml", "--listen", "127.0.0.1:0"]
            more = ["--admin", "off", "--log-format", "json", "--log-level", "info"]
            command = [sys.executable, "-m", "lookaside", "serve", *flags, *more]
            running = stack.enter_context(Program(command, tmp_path / "lookaside.log"))
            return "127.0.0.1:" + running.wait_for(r'"port":(\d+)')

        yield start
