import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import grpc
import pytest

import client_resolver

PUBLIC = {
    "client_resolver": [
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
    ],
    "client_resolver.aio": ["Channel", "insecure_channel", "secure_channel"],
    "client_resolver.errors": ["ResolverError", "ServiceConfigError", "TargetError"],
    "client_resolver.metrics": ["KEPT", "Prometheus"],
    "client_resolver.resolver": ["Answer", "Resolve", "Server"],
    "client_resolver.testing": [
        "Backend",
        "Backends",
        "Balancer",
        "LoopbackServer",
        "Received",
        "connect",
        "connect_aio",
        "eventually",
        "wait_for",
    ],
}
INTERNAL = {"_pb", "call", "config", "core", "sync", "telemetry"}
"""Rooms of the package that users don't import from."""

PACKAGE = Path(client_resolver.__file__).parent


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_of_a_module_are_these(module: str) -> None:
    assert import_module(module).__all__ == PUBLIC[module]


def test_a_module_of_the_package_is_public_or_known_to_be_internal() -> None:
    found = {found.name for found in iter_modules([str(PACKAGE)])}
    assert found == INTERNAL | {name.partition(".")[2] for name in PUBLIC} - {""}


def test_the_readme_names_the_public_modules_and_no_other() -> None:
    text = (PACKAGE.parent / "README.md").read_text()
    table = text.partition("| module | what it has |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE) == sorted(PUBLIC)


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
