from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
import trustme

from client_resolver import testing
from tests.conformance.clients import AioClient, Client, SyncClient
from tests.conformance.servers import Backend, Balancer
from tests.strays import no_stray_exceptions, strays

__all__ = ["no_stray_exceptions", "strays"]

SERVICE = "greeter.shop"
FIGURE = "figure"


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Has a line printed at the end of the run: what a test has measured."""
    # It goes with the test's report, which a worker of pytest-xdist sends to who prints.
    told = request.node.user_properties
    return lambda measured: told.append((FIGURE, f"{request.node.name}: {measured}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [one for some in terminalreporter.stats.values() for one in some]
    lines = [
        told
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, told in report.user_properties
        if name == FIGURE
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(str(line))


@pytest.fixture
def backend() -> Iterator[Callable[..., Backend]]:
    """Starts backends and stops those that the test hasn't."""
    started: list[Backend] = []

    def start(credentials: grpc.ServerCredentials | None = None, port: int = 0) -> Backend:
        started.append(Backend(credentials, port))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def fleet() -> Iterator[Callable[..., testing.Backends]]:
    """Starts so many backends of `client_resolver.testing`, and stops them."""
    started: list[testing.Backends] = []

    def start(count: int, *args: Any, **kwargs: Any) -> testing.Backends:
        started.append(testing.Backends(count, *args, **kwargs))
        return started[-1]

    yield start
    for backends in started:
        backends.stop()


@pytest.fixture
def lister() -> Iterator[testing.Balancer]:
    """A balancer of `client_resolver.testing`."""
    with testing.Balancer() as balancer:
        yield balancer


@pytest.fixture
def new_balancer() -> Iterator[Callable[..., Balancer]]:
    started: list[Balancer] = []

    def start(port: int = 0, credentials: grpc.ServerCredentials | None = None) -> Balancer:
        started.append(Balancer(port, credentials))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def balancer(new_balancer: Callable[..., Balancer]) -> Balancer:
    return new_balancer()


@pytest.fixture(params=["sync", "aio"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def connect(shell: str) -> AsyncIterator[Callable[..., Client]]:
    """Makes channels by target and closes them."""
    made: list[Client] = []

    def make(target: str | Balancer, **kwargs: Any) -> Client:
        if isinstance(target, Balancer):
            target = f"lookaside://{target.address}/{SERVICE}"
        kwargs.setdefault("watch_backoff", (0.01, 0.05))
        made.append((SyncClient if shell == "sync" else AioClient)(target, **kwargs))
        return made[-1]

    yield make
    for client in made:
        if client.channel is not None:
            await client.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()
