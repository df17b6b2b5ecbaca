"""Checks of the values of a channel's arguments."""

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import grpc
import grpc.experimental

from client_resolver.config.keywords import Keywords
from client_resolver.telemetry.observer import Observer

__all__ = ["check_arguments", "check_credentials", "check_token"]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pair_of_numbers(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(map(_number, value))


def _rising(bounds: object) -> bool:
    return _pair_of_numbers(bounds) and 0 < bounds[0] <= bounds[1] < float("inf")  # type: ignore[index]


def _pings(keepalive: object) -> bool:
    return _pair_of_numbers(keepalive) and all(0.001 <= time < 2**21 for time in keepalive)  # type: ignore[attr-defined]


def _whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: _number(value) and isinstance(value, int) and low <= value <= high


def _from_zero(value: object) -> bool:
    return _number(value) and value >= 0  # type: ignore[operator]


def _positive(value: object) -> bool:
    return _number(value) and value > 0  # type: ignore[operator]


def _text(value: object) -> bool:
    return isinstance(value, str)


def _callables(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and callable(one) for name, one in value.items()
    )


def _observers(value: object) -> bool:
    return isinstance(value, Sequence) and all(isinstance(one, Observer) for one in value)


def _arguments(options: object) -> bool:
    return isinstance(options, Sequence) and all(
        isinstance(option, Sequence)
        and len(option) == 2
        and isinstance(option[0], str | bytes)
        and _encodable(option[0])
        and _argument(option[1])
        for option in options
    )


def _argument(value: object) -> bool:
    if isinstance(value, str | bytes):
        return _encodable(value)
    if isinstance(value, int):
        return -(2**31) <= value < 2**31
    if not hasattr(value, "__int__"):
        return False
    try:
        # grpc uses it as a pointer of its own: so a float is accepted, and has no effect.
        return 0 <= int(value) < 2**64
    except (TypeError, ValueError, OverflowError):
        return False


def _encodable(value: str | bytes) -> bool:
    try:
        return isinstance(value, bytes) or bool(value.encode()) or not value
    except UnicodeEncodeError:
        return False


Rule = tuple[Callable[[object], bool], str]

_ARGUMENTS = "pairs of a name and an int of 32 bits, a str or bytes"
_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "balancer_options": (_arguments, _ARGUMENTS),
        "balancer_token": (
            lambda value: callable(value) or isinstance(value, str | os.PathLike),
            "a str, a pathlib.Path or a callable",
        ),
        "client_id": (_text, "a str"),
        "connect": (lambda value: value in ("eager", "lazy"), "'eager' or 'lazy'"),
        "connections_per_backend": (_whole(1, 100), "a whole number from 1 to 100"),
        "dial": (callable, "a callable of an Endpoint"),
        "drain_timeout": (_from_zero, "0 or more, in seconds"),
        "fallback": (_text, "a target: a str"),
        "hash_key": (callable, "a callable of method, metadata and request"),
        "idle_timeout": (_positive, "above 0, in seconds"),
        "insecure_balancer_token": (lambda value: isinstance(value, bool), "True or False"),
        "keepalive": (_pings, "(time, timeout) in seconds, each ≥ 0.001"),
        "node": (_text, "a str"),
        "observers": (_observers, "a list of objects of client_resolver.Observer"),
        "older_revision_hold": (_from_zero, "0 or more, in seconds"),
        "options": (_arguments, _ARGUMENTS),
        "policies": (_callables, "a dict of callables by name"),
        "refresh_interval": (_positive, "above 0, in seconds"),
        "resolvers": (_callables, "a dict of callables by scheme"),
        "snapshot_path": (
            lambda value: isinstance(value, str | os.PathLike),
            "a str or a pathlib.Path",
        ),
        "max_table_size": (_whole(2, 8 * 1024 * 1024), "a whole number from 2 to 8388608"),
        "subset_size": (_whole(1, 2**32 - 1), f"a whole number from 1 to {2**32 - 1}"),
        "watch_backoff": (_rising, "(first, largest) in seconds, positive and rising"),
        "zone": (_text, "a str"),
    }
)


def check_arguments(given: Keywords, options: object) -> None:
    """Check what can be checked of each argument by itself.

    Args:
        given: The keyword arguments. None means the default.
        options: The channel arguments.

    Raises:
        TypeError: There is no such argument, or credentials have another type.
        ValueError: A value is not what it must be.
    """
    unknown = given.keys() - Keywords.__annotations__.keys()
    if unknown:
        known = ", ".join(sorted(Keywords.__annotations__))
        raise TypeError(f"no such argument: {', '.join(sorted(unknown))}. Known: {known}")
    for name, value in {**given, "options": options}.items():
        if name in _RULES and value is not None:
            holds, wanted = _RULES[name]
            if not holds(value):
                raise ValueError(f"{name} must be {wanted}; got {value!r}")
    if given.get("balancer_credentials") is not None:
        check_credentials("balancer_credentials", given["balancer_credentials"])
    if given.get("idle_timeout") is not None and given.get("connect") != "lazy":
        raise ValueError("idle_timeout has no effect without connect='lazy'")


def check_token(given: Keywords) -> None:
    """Check that a balancer's token is sent in plain text only if that is allowed explicitly.

    Raises:
        ValueError: It would be sent without that.
    """
    if given.get("balancer_token") is None or given.get("insecure_balancer_token"):
        return
    if _in_plain_text(given.get("balancer_credentials")):
        raise ValueError(
            "balancer_token would be sent in plain text: give balancer_credentials, such as "
            "grpc.ssl_channel_credentials() returns, or insecure_balancer_token=True"
        )


def _in_plain_text(credentials: grpc.ChannelCredentials | None) -> bool:
    insecure = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call]
    # grpc has their kind in a private attribute only.
    return credentials is None or type(getattr(credentials, "_credentials", None)) is type(
        getattr(insecure, "_credentials", None)
    )


def check_credentials(name: str, value: object) -> None:
    """Check that an argument is the credentials of a connection.

    Raises:
        TypeError: It isn't.
    """
    if not isinstance(value, grpc.ChannelCredentials):
        hint = "as from grpc.ssl_channel_credentials()"
        raise TypeError(f"{name} must be grpc.ChannelCredentials, {hint}; got {value!r}")
