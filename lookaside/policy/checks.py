"""Checks shared by service-config fields: ranges, durations, status codes."""

import re

__all__ = ["check_codes", "check_duration", "check_range", "expect"]

_DURATION = re.compile(r"\d{1,12}(\.\d{1,9})?s", re.ASCII)
_CODES = {
    *("CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
}


def expect(holds: bool, sentence: str) -> None:
    """Raise ValueError with the sentence unless it holds."""
    if not holds:
        raise ValueError(sentence)


def check_range(name: str, value: int | None, low: int, high: int = 2**32 - 1) -> None:
    """Hold that a number, if there is one, is from `low` to `high`."""
    if value is not None:
        expect(low <= value <= high, f"{name} must be from {low} to {high}")


def check_duration(text: str, above_zero: str = "") -> None:
    """Hold that a text is a duration, and above 0 where a name for the message is given."""
    expect(bool(_DURATION.fullmatch(text)), f"{text!r} is not a duration such as 0.5s")
    if above_zero:
        expect(float(text[:-1]) > 0, f"{above_zero} must be above 0s")


def check_codes(codes: list[str]) -> None:
    """Hold that all are names of gRPC status codes other than OK."""
    for code in codes:
        expect(code in _CODES, f"{code!r} is not a gRPC status code")
