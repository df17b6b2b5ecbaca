import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.examples.running import Balancer, Program


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
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    """The service, once it is told what to serve."""
    service = Balancer(tmp_path)
    yield service
    service.stop()
