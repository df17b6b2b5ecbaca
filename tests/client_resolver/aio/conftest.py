from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from client_resolver import aio
from tests.client_resolver.aio.scripted import Scripted


@pytest.fixture
def server() -> Iterator[Callable[[], Scripted]]:
    """Starts servers and stops them."""
    started: list[Scripted] = []

    def start() -> Scripted:
        started.append(Scripted())
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Makes channels to servers and closes them."""
    made: list[Any] = []

    def make(*servers: Scripted, **kwargs: Any) -> Any:
        target = "static:///" + ",".join(server.address for server in servers)
        made.append(aio.insecure_channel(target, **kwargs))
        return made[-1]

    yield make
    for channel in made:
        await channel.close()
