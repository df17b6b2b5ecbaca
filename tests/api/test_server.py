import grpc
import pytest

from lookaside.api.server import OPTIONS
from lookaside.errors import ListenError
from tests.api.conftest import Balancer


async def test_a_port_that_is_taken_is_refused(balancer: Balancer) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 127\.0\.0\.1:\d+"):
        balancer.server._bind(f"127.0.0.1:{balancer.server.port}", None, lambda _: None)


def test_the_settings_that_grpc_needs_are_pinned() -> None:
    options = dict(OPTIONS)
    assert options["grpc.server.max_pending_requests"] >= 100_000
    assert options["grpc.server.max_pending_requests_hard_limit"] >= 100_000
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < 10_000 / 2
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert options["grpc.so_reuseport"] == 0


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/lookaside.LoadBalancer/Nothing"
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
