"""Restarts channels in the child of a process that forks.

Python never takes a fork hook back, so there is one for the whole process: a hook for each channel
would outlive the channel.
"""

import os
import weakref
from typing import Protocol

__all__ = ["follow"]


class Forkable(Protocol):
    """Something whose threads and sockets stay behind in the parent."""

    def forget(self) -> None:
        """Forget what belongs to the parent. Called in the child."""


_followed: weakref.WeakSet[Forkable] = weakref.WeakSet()


def follow(one: Forkable) -> None:
    """Have something told, for as long as it lives, that it is in a child now."""
    _followed.add(one)


def _forked() -> None:
    for one in list(_followed):
        one.forget()


os.register_at_fork(after_in_child=_forked)
