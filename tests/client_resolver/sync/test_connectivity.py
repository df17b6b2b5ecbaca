import gc
import sys
import threading
from types import FrameType
from typing import Any

import grpc
import pytest

from client_resolver.core.guard import owned
from client_resolver.core.model import Connectivity
from client_resolver.sync.connectivity import end_calls, probe, steady


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


class Struck(Exception):
    """What a signal handler raises."""


@pytest.mark.parametrize("steadied", [True, False])
def test_no_exception_leaves_grpcs_lock_taken(steadied: bool) -> None:
    channel: Any = grpc.insecure_channel("127.0.0.1:1")
    if steadied:
        steady(channel)
    (state,) = [
        one for one in gc.get_referents(channel._channel) if type(one).__name__ == "_ChannelState"
    ]
    condition: Any
    (condition,) = [one for one in gc.get_referents(state) if isinstance(one, threading.Condition)]
    assert (type(condition) is threading.Condition) is not steadied
    ask = probe(channel)

    def strike(frame: FrameType, event: str, _arg: object) -> None:
        # A handler may run as a function of Python's begins.
        if frame.f_code.co_name == "__exit__" and event == "call":
            raise Struck

    struck = False
    sys.setprofile(strike)
    try:
        ask(False)
    except Struck:
        struck = True
    finally:
        sys.setprofile(None)
    # Without `steady`, grpc's own lock stays taken: so the test can fail.
    assert struck is not steadied
    assert owned(condition._lock) is not steadied
    while owned(condition._lock):
        condition._lock.release()
    channel.close()
