import gc
import os
import subprocess
import sys
import weakref

import pytest

import client_resolver
from client_resolver.sync.forks import follow

FORKING = """
import os
from client_resolver.sync.forks import follow

class Followed:
    forgot = 0
    def forget(self):
        self.forgot += 1

followed = Followed()
follow(followed)
child = os.fork()
if child:
    os.waitpid(child, 0)
print("parent" if child else "child", followed.forgot)
"""


class Followed:
    def __init__(self) -> None:
        self.forgot = 0

    def forget(self) -> None:
        self.forgot += 1


def test_what_is_followed_is_told_in_the_child_alone() -> None:
    # In a process of its own: this one may have threads, and then a fork is warned of.
    ran = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["child", "1", "parent", "0"]


def test_what_is_followed_may_go() -> None:
    followed = Followed()
    follow(followed)
    seen = weakref.ref(followed)
    del followed
    gc.collect()
    assert seen() is None


def test_a_channel_registers_no_hook_that_would_outlive_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks: list[object] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hook: hooks.append(hook))
    client_resolver.insecure_channel("static:///127.0.0.1:1").close()
    assert hooks == []
