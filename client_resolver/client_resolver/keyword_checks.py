"""What the values of a channel's keyword arguments must be."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from client_resolver.keywords import Keywords

__all__ = ["check_keywords"]


def _rising(bounds: object) -> bool:
    initial, maximum = cast("tuple[float, float]", bounds)
    return 0 < initial <= maximum


def _pings(keepalive: object) -> bool:
    time, timeout = cast("tuple[float, float]", keepalive)
    return 0.001 <= time < 2**21 and 0.001 <= timeout < 2**21


def _from(low: float, high: float = float("inf")) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int | float) and low <= value <= high


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


_RULES: Mapping[str, tuple[Callable[[object], bool], str]] = MappingProxyType(
    {
        "connect": (lambda value: value in {"eager", "lazy"}, "'eager' or 'lazy'"),
        "connections_per_backend": (_from(1, 100), "from 1 to 100"),
        "drain_timeout": (_from(0), "0 or more seconds"),
        "idle_timeout": (_positive, "above 0 seconds"),
        "keepalive": (_pings, "two numbers of seconds, each from 0.001"),
        "older_revision_hold": (_from(0), "0 or more seconds"),
        "refresh_interval": (_positive, "above 0 seconds"),
        "subset_size": (_from(1, 2**32 - 1), f"from 1 to {2**32 - 1}"),
        "watch_backoff": (_rising, "two rising positive numbers of seconds"),
    }
)


def check_keywords(given: Keywords) -> None:
    """Check what can be checked of each argument by itself.

    Args:
        given: The keyword arguments. None stands for the default of those that allow it.

    Raises:
        TypeError: There is no such argument.
        ValueError: A value is out of its range.
    """
    unknown = given.keys() - Keywords.__annotations__.keys()
    if unknown:
        known = ", ".join(sorted(Keywords.__annotations__))
        raise TypeError(f"no such argument: {', '.join(sorted(unknown))}. Known: {known}")
    for name, value in given.items():
        if name in _RULES and value is not None:
            holds, wanted = _RULES[name]
            if not holds(value):
                raise ValueError(f"{name} {value!r} is not {wanted}")
    if given.get("idle_timeout") is not None and given.get("connect") != "lazy":
        raise ValueError("idle_timeout has a meaning with connect='lazy' alone")
