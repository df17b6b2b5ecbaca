"""Reads fields of JSON configs, in the forms that protobuf's JSON mapping allows.

Every reader takes the object, the field's name and a default, which is returned where the field is
missing or null. What can't be read is a ValueError that names field, value and what is wanted.
`inside` puts the names of the objects around a field before it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

__all__ = [
    "STATUS_CODES",
    "check",
    "codes",
    "duration",
    "flag",
    "inside",
    "listed",
    "number",
    "object_in",
    "required",
    "text",
    "whole",
]

D = TypeVar("D")

STATUS_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of the gRPC status codes, each at its number."""

_DURATION = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?s")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Put `name` and a dot before the messages of the ValueErrors that are raised within.

    Raises:
        ValueError: One was raised within.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from error


def required(config: Mapping[str, object], *names: str) -> None:
    """Hold that the fields are there.

    Raises:
        ValueError: One is missing or null.
    """
    for name in names:
        if config.get(name) is None:
            raise ValueError(f"{name} is missing")


def check(
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    unit: str = "",
) -> None:
    """Hold that a number is in its range.

    Args:
        name: The field, for the message.
        value: The number.
        low: The least that is allowed.
        high: The most that is allowed.
        above: What the number must be larger than.
        unit: Written behind the numbers of the message.

    Raises:
        ValueError: It is not, or it is not finite.
    """
    if math.isfinite(value) and value >= low and value <= high and value > above:
        return
    bounds = [
        f"more than {above:.10g}{unit}" if above > -math.inf else "",
        f"at least {low:.10g}{unit}" if low > -math.inf else "",
        f"at most {high:.10g}{unit}" if high < math.inf else "",
    ]
    wanted = " and ".join(bound for bound in bounds if bound) or "a finite number"
    raise ValueError(f"{name} is {value:.10g}{unit}: {wanted} is allowed")


def duration(
    config: Mapping[str, object],
    name: str,
    default: D,
    *,
    low: float = 0.0,
    high: float = math.inf,
    above: float = -math.inf,
) -> float | D:
    """Read a `google.protobuf.Duration`: "10s", "1.5s". Return seconds."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise _wrong(name, value, 'a duration like "10s" or "1.5s"')
    seconds = float(value[:-1])
    check(name, seconds, low=low, high=high, above=above, unit="s")
    return seconds


def number(
    config: Mapping[str, object],
    name: str,
    default: D,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
) -> float | D:
    """Read a number, which may be a string."""
    value = config.get(name)
    if value is None:
        return default
    result = _number(value)
    if result is None:
        raise _wrong(name, value, "a number")
    check(name, result, low=low, high=high, above=above)
    return result


def whole(
    config: Mapping[str, object],
    name: str,
    default: D,
    *,
    low: int = 0,
    high: int = 2**32 - 1,
) -> int | D:
    """Read a whole number, which may be a string or be written as 5.0."""
    value = config.get(name)
    if value is None:
        return default
    result = _number(value)
    if result is None or (math.isfinite(result) and not result.is_integer()):
        raise _wrong(name, value, "a whole number")
    check(name, result, low=low, high=high)
    return int(result)


def flag(config: Mapping[str, object], name: str, default: D) -> bool | D:
    """Read true or false."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def text(config: Mapping[str, object], name: str, default: D) -> str | D:
    """Read a string."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise _wrong(name, value, "a string")
    return value


def listed(config: Mapping[str, object], name: str, default: D) -> list[object] | D:
    """Read a list of anything."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, list | tuple):
        raise _wrong(name, value, "a list")
    return list(value)


def object_in(config: Mapping[str, object], name: str) -> Mapping[str, object] | None:
    """Read a nested object. Return None where there is none."""
    value = config.get(name)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "an object")
    return value


def codes(config: Mapping[str, object], name: str, default: D) -> frozenset[str] | D:
    """Read a list of gRPC status codes, by name in any case or by number. Return the names."""
    given = listed(config, name, None)
    if given is None:
        return default
    return frozenset(_code(name, one) for one in given)


def _wrong(name: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{name} is {value!r}: {wanted} is wanted")


def _code(name: str, value: object) -> str:
    if isinstance(value, str) and value.upper() in STATUS_CODES:
        return value.upper()
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(STATUS_CODES):
        return STATUS_CODES[value]
    known = ", ".join(STATUS_CODES)
    raise ValueError(f"{name} has {value!r}: one of {known}, or its number, is wanted")


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return None
