"""What the tests have measured, printed at the end of a run."""

from typing import Final

FIGURES: Final[list[str]] = []


def record(text: str) -> None:
    """Keep a line for the end of the run."""
    FIGURES.append(text)
