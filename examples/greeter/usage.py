"""How a client ends whose target is mistyped."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from client_resolver import TargetError


@contextmanager
def checked_target() -> Iterator[None]:
    """Have a target that cannot be understood end the program with a sentence and exit code 2."""
    try:
        yield
    except TargetError as error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(2)
