"""RPCs of a signal handler: it has interrupted its thread while that holds a lock of grpc's own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import client_resolver
from client_resolver.testing import Balancer
from tests.client_resolver.sync.loopback import Backend

BOUND = 20.0


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    with Balancer() as one:
        yield one


def test_an_rpc_gets_a_backend_though_its_thread_has_been_interrupted_at_another(
    balancer: Balancer, backend: Callable[..., Backend]
) -> None:
    dead, live = "127.0.0.1:1", backend().address
    balancer.serve("greeter", [dead])
    channel: Any
    with client_resolver.insecure_channel(balancer.target("greeter")) as channel:
        driver = channel._driver
        with pytest.raises(Exception, match="UNAVAILABLE"):
            channel.unary_unary("/t.T/UU")(b"x", timeout=BOUND)
        (failing,) = driver.runner.machine.pool

        # Here, as a handler that has interrupted a look at the connection.
        with failing.handle._lock:
            balancer.serve("greeter", [dead, live])
            assert channel.unary_unary("/t.T/UU")(b"x", timeout=BOUND, wait_for_ready=True) == b"x"
