"""Whether a thread has been interrupted in the middle of something of a channel's."""

import sys
import threading
from types import FrameType

__all__ = ["is_nested", "is_own_thread"]

_FEEDERS = tuple(f"lookaside-{what}" for what in ("driver", "watch", "poll", "fallback"))
"""The names of the threads that backends come by."""


def is_own_thread() -> bool:
    """Whether this is a thread that finds backends or connects them: it can't wait for one.

    Such threads run code of the application's as well: finalisers, observers, policies.
    """
    return threading.current_thread().name in _FEEDERS


def is_nested() -> bool:
    """Whether there is code of a channel's below the code that has called a channel's method.

    Then a signal handler or a finaliser has interrupted it, or it has called something of the
    application's. The thread may hold a lock below that the channel's other threads need: one of
    grpc's as well, whose holder can't be known. So it is not to wait for those threads.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    within = True
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not _is_a_channels(name):
            within = False
        elif not within:
            return True
        frame = frame.f_back
    return False


def _is_a_channels(module: str) -> bool:
    # The helpers for tests are users of channels, like the application.
    ours = module.startswith("client_resolver.") and not module.startswith(
        "client_resolver.testing"
    )
    return ours or module == "grpc._channel"
