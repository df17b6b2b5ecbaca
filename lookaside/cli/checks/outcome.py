"""The result of a check."""

from dataclasses import dataclass
from typing import Literal

Result = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one check.

    Attributes:
        check: What was looked at.
        result: How it stands.
        says: What was found.
        hint: What may help; "" where nothing need.
    """

    check: str
    result: Result
    says: str
    hint: str = ""
