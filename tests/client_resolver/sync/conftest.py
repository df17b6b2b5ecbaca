from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver import testing
from client_resolver.core.model import Connectivity
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
            channel.subscribe(ignore, try_to_connect=True)
            testing.wait_for(lambda: all_ready(channel.snapshot()))
            channel.unsubscribe(ignore)
        return made[-1]

    yield make
    for channel in made:
        channel.close()


def all_ready(snapshot: client_resolver.ChannelSnapshot) -> bool:
    """Whether every backend is connected, and may be picked."""
    states = {one.connectivity for one in snapshot.backends}
    return snapshot.settled and states == {Connectivity.READY}


def ignore(_state: grpc.ChannelConnectivity) -> None:
    pass
