from math import inf, isclose, nan
from typing import Any

import grpc
import pytest

from client_resolver.config.call_arguments import (
    check_arguments,
    deadline_after,
    refuse_unless_bytes,
)


def test_none_and_what_grpc_takes_pass() -> None:
    check_arguments(None, None)
    for compression in grpc.Compression:
        check_arguments(grpc.access_token_call_credentials("token"), compression)


@pytest.mark.parametrize("compression", ["gzip", 7])
def test_a_compression_that_is_none_is_a_key_error_as_with_grpc(compression: Any) -> None:
    with pytest.raises(KeyError):
        check_arguments(None, compression)


def test_credentials_of_a_channel_are_none_of_a_call() -> None:
    channels: Any = grpc.local_channel_credentials()
    with pytest.raises(TypeError, match=r"are no grpc\.CallCredentials"):
        check_arguments(channels, None)


@pytest.mark.parametrize("message", ["text", None, 5, bytearray(b"x"), memoryview(b"x")])
def test_a_message_is_bytes(message: object) -> None:
    refuse_unless_bytes(b"x", "request")
    with pytest.raises(TypeError, match="'request' has incorrect type"):
        refuse_unless_bytes(message, "request")


def test_a_timeout_that_is_no_number_is_over_at_once() -> None:
    assert deadline_after(1.0, None) is None
    assert deadline_after(1.0, nan) == 0.0  # over
    assert deadline_after(1.0, inf) == inf
    assert isclose(deadline_after(1.0, 0.5) or 0, 1.5)
    text: Any = "5"
    with pytest.raises(TypeError):
        deadline_after(1.0, text)
