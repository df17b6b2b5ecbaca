import inspect
from collections.abc import Callable
from typing import Any

import grpc
import pytest

import client_resolver


def test_the_public_names_are_these() -> None:
    assert client_resolver.__all__ == [
        "Attempt",
        "BackendSnapshot",
        "BasePolicy",
        "Candidate",
        "Channel",
        "ChannelSnapshot",
        "Connectivity",
        "Dialing",
        "Endpoint",
        "Keywords",
        "Observer",
        "Picker",
        "Policy",
        "ResolverError",
        "Server",
        "ServiceConfigError",
        "TargetError",
        "aio",
        "insecure_channel",
        "secure_channel",
    ]
    assert client_resolver.aio.__all__ == ["Channel", "insecure_channel", "secure_channel"]


@pytest.mark.parametrize(
    ("ours", "grpcs"),
    [
        (client_resolver.insecure_channel, grpc.insecure_channel),
        (client_resolver.secure_channel, grpc.secure_channel),
        (client_resolver.aio.insecure_channel, grpc.aio.insecure_channel),
        (client_resolver.aio.secure_channel, grpc.aio.secure_channel),
    ],
)
def test_positional_arguments_are_those_of_grpc(
    ours: Callable[..., Any], grpcs: Callable[..., Any]
) -> None:
    positional = [
        name
        for name, parameter in inspect.signature(ours).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    assert positional == list(inspect.signature(grpcs).parameters)


@pytest.mark.parametrize("shell", [client_resolver, client_resolver.aio])
def test_a_bad_target_is_refused_before_anything_starts(shell: Any) -> None:
    with pytest.raises(client_resolver.TargetError, match="Known forms"):
        shell.insecure_channel("greeter:50051")


def test_repr_tells_what_a_channel_is_doing() -> None:
    channel = client_resolver.insecure_channel("static:///10.0.0.1:80")
    assert "static:///10.0.0.1:80" in repr(channel)
    channel.close()
    assert "closed" in repr(channel)
