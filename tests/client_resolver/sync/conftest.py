from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver.core.model import Connectivity
from client_resolver.sync.wakeups import Wakeup
from tests.client_resolver.sync.loopback import Backend, Script


@pytest.fixture
def backend() -> Iterator[Callable[..., Backend]]:
    """Starts backends."""
    started: list[Backend] = []

    def start(script: Script | None = None) -> Backend:
        started.append(Backend(script))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., grpc.Channel]]:
    """Makes channels to backends; each is connected to all of them unless it is lazy."""
    made: list[grpc.Channel] = []

    def make(*backends: Backend, **kwargs: Any) -> grpc.Channel:
        target = "static:///" + ",".join(one.address for one in backends)
        channel: Any = client_resolver.insecure_channel(target, **kwargs)
        made.append(channel)
        if kwargs.get("connect") != "lazy":
            grpc.channel_ready_future(channel).result(20)
            all_ready(channel)
        return made[-1]

    yield make
    for channel in made:
        channel.close()


def all_ready(channel: Any) -> None:
    """Wait until every backend is connected."""
    driver = channel._driver
    changed = Wakeup()
    driver._changes.add(changed)
    until = monotonic() + 20
    while not all(one.connectivity is Connectivity.READY for one in channel.snapshot().backends):
        assert changed.wait(until - monotonic())
    driver._changes.remove(changed)
