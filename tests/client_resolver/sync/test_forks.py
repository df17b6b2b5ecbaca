import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable

import pytest

import client_resolver
from client_resolver.sync.forks import follow
from tests.client_resolver.sync.loopback import Backend

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


# A handler that comes in the middle of an RPC of grpc's own can't fork: grpc's hook waits in the
# child for the lock that the RPC beneath holds, with a plain channel as well.
FORKED_IN_THE_MIDDLE = """
import os, sys
import client_resolver

channel = client_resolver.insecure_channel("static:///" + sys.argv[1])
call = channel.unary_unary("/t.T/UU")
driver = channel._driver
codes = []

def again():
    return call(b"x", timeout=60, wait_for_ready=True) == b"x"

def fork():
    child = os.fork()
    if not child:
        whole = again() and channel.snapshot().backends
        channel.close()
        os._exit(0 if whole else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

assert again()
driver.runner.serializer.read(fork)
driver.binding.run(fork, fork)
driver.lifecycle.starting.run(fork, fork)
print(codes, again(), [one.in_flight for one in channel.snapshot().backends])
channel.close()
"""


def test_a_fork_while_a_lock_of_the_channel_is_held_leaves_both_processes_a_channel(
    backend: Callable[..., Backend],
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORKED_IN_THE_MIDDLE, backend().address],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "1"},
    )
    assert ran.stdout == "[0, 0, 0] True [0]\n", ran.stderr
