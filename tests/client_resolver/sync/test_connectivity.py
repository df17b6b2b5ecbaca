from typing import Any

import grpc
import pytest

from client_resolver.core.model import Connectivity
from client_resolver.sync.connectivity import end_calls, probe


def test_grpc_still_has_what_is_asked_for_a_state() -> None:
    channel: Any = grpc.insecure_channel("ipv4:127.0.0.1:1")
    assert channel._channel.check_connectivity_state(False) == 0
    channel.close()


def test_a_state_is_told_without_a_thread_and_after_the_end() -> None:
    channel = grpc.insecure_channel("ipv4:127.0.0.1:1")
    state = probe(channel)
    assert state(False) is Connectivity.IDLE
    assert state(True) in Connectivity
    channel.close()
    assert state(False) is Connectivity.SHUTDOWN


def test_without_it_the_public_way_is_taken() -> None:
    class Public:
        def __init__(self) -> None:
            self.asked: list[bool] = []

        def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
            self.asked.append(try_to_connect)
            callback(grpc.ChannelConnectivity.READY)

        def unsubscribe(self, callback: Any) -> None: ...

    channel: Any = Public()
    state = probe(channel)
    assert state(False) is Connectivity.READY
    assert state(True) is Connectivity.READY
    assert channel.asked == [False, True]


def test_grpc_still_has_what_ends_the_calls_of_a_channel_with_a_code() -> None:
    channel: Any = grpc.insecure_channel("ipv4:127.0.0.1:1")
    call = channel.unary_unary("/t.Echo/Unary").future(b"x", wait_for_ready=True)
    end_calls(channel, "it has left the list")
    channel.close()
    with pytest.raises(grpc.RpcError):
        call.result(20)
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert "it has left the list" in call.details()


def test_without_it_the_calls_are_left_to_the_channels_end() -> None:
    class Public:
        pass

    channel: Any = Public()
    end_calls(channel, "it has left the list")
