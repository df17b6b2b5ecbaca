"""A client that is interrupted again and again: `python -m … MODE TIMES TARGET PLAIN_ADDRESS`.

It makes RPCs on the main thread and on others, by a channel of this package and by one of grpc's
own, while whatever MODE says comes in between: signal handlers, finalisers, exceptions of handlers.
In the end it prints, for each channel, how often it was interrupted and what was left counted.

It is a process of its own: a handler is the whole process's, and a hang is to be seen from outside.
"""

import faulthandler
import gc
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from inspect import currentframe
from itertools import cycle
from pathlib import Path
from traceback import walk_stack
from typing import Any

import grpc

import client_resolver

BOUND = 120.0
"""Seconds without any progress that are taken for a hang: all stacks are printed then."""
_NOTED = 20
"""After so many interruptions, progress is noted: what notes it starts a thread each time."""

_PLUGIN = str(Path(grpc.__file__).with_name("_observability.py"))
"""Where grpc's core for Python takes the lock of its observability plugin."""

RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.001s",
    "maxBackoff": "0.001s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
CONFIGS: list[dict[str, object]] = [
    # Plain RPCs; light ones; those that are counted in and out.
    {},
    {
        "methodConfig": [{"name": [{}], "retryPolicy": RETRY}],
        "outlierDetection": {"consecutiveErrors": 5},
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 1},
    },
    {
        "methodConfig": [{"name": [{}], "retryPolicy": RETRY}],
        "circuitBreaker": {"maxRequests": 1000, "maxRetries": 1000, "maxPendingRequests": 1000},
        "loadBalancingConfig": [{"peak_ewma": {}}],
    },
]


class Interrupted(Exception):
    """What a handler raises, as a task queue's time limit does."""


class Client:
    """A channel that is used, closed by whoever interrupts it, and made anew.

    Args:
        make: Makes the channel.
        ours: It has what grpc's own has not.
    """

    def __init__(self, make: Callable[[], grpc.Channel], *, ours: bool) -> None:
        self._make = make
        self._ours = ours
        self.hits = 0
        self.channel: Any = make()
        self.future: Any = None
        # `close` of grpc's own waits for futures and streams: for ever, in a handler that has come
        # while its thread begins one.
        self._forms: Iterator[int] = cycle(range(3 if ours else 1))
        self._actions: Iterator[Callable[[], object]] = cycle(self._all())

    def _all(self) -> list[Callable[[], object]]:
        often: list[Callable[[], object]] = [
            self.call,
            lambda: repr(self.channel),
            self._cancel,
        ]
        if self._ours:
            # A thread of grpc's own follows the state that a plain channel is asked for: closing
            # that channel soon after raises ValueError there (262 of 300 tried).
            often += [self._subscribe, self._snapshot, self._resolve]
        # To make a channel takes as long as many RPCs.
        return [*often * 5, self._another, *often * 5, self.channel_closed]

    def call(self) -> None:
        """Make an RPC and wait for it."""
        with suppress(grpc.RpcError, ValueError):
            self.channel.unary_unary("/t.T/UU")(b"x", timeout=20)

    def _subscribe(self) -> None:
        def told(_state: object) -> None: ...

        with suppress(ValueError):
            self.channel.subscribe(told)
            self.channel.unsubscribe(told)

    def _cancel(self) -> None:
        if self.future is not None:
            self.future.cancel()

    def _another(self) -> None:
        channel: Any
        with self._make() as channel, suppress(grpc.RpcError):
            channel.unary_unary("/t.T/UU")(b"x", timeout=20)

    def _snapshot(self) -> None:
        self.channel.snapshot()

    def _resolve(self) -> None:
        with suppress(ValueError):
            self.channel.resolve_now()

    def channel_closed(self) -> None:
        """Close the channel. It is made anew before the next RPC of the main thread."""
        self.channel.close()
        self.channel = self._make()

    def act(self, *_: object) -> None:
        """Do the next thing that an interruption does."""
        if under_plugin_lock():
            return
        self.hit()
        next(self._actions)()

    def hit(self) -> None:
        """Count an interruption."""
        self.hits += 1
        if self.hits % _NOTED == 0:
            faulthandler.dump_traceback_later(BOUND, exit=True)

    def work(self) -> None:
        """Make one RPC, of one form after another."""
        channel = self.channel
        with suppress(grpc.RpcError, ValueError, grpc.FutureCancelledError):
            match next(self._forms):
                case 0:
                    channel.unary_unary("/t.T/UU")(b"x", timeout=20)
                case 1:
                    self.future = channel.unary_unary("/t.T/UU").future(b"x", timeout=20)
                    self.future.result()
                case _:
                    list(channel.stream_stream("/t.T/SS")(iter([b"x", b"y"]), timeout=20))


def under_plugin_lock() -> bool:
    """Return whether the RPC that was interrupted may hold the lock of grpc's observability plugin.

    An RPC that is made there can wait forever, on a plain channel too: it needs the channel's lock,
    which a thread that starts an RPC has while it waits for the plugin's. See docs/threads.md.
    """
    frames = walk_stack(currentframe())
    return any(frame.f_code.co_filename == _PLUGIN for frame, _ in frames)


def later() -> None:
    """Have a signal come within the time of some RPCs."""
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, 0.002))


def signals(client: Client, times: int) -> None:
    """Have handlers call methods of the channel that they interrupt."""
    signal.signal(signal.SIGALRM, client.act)
    while client.hits < times:
        later()
        client.work()
    signal.setitimer(signal.ITIMER_REAL, 0)


class Cycle:
    """Something that only the garbage collector ends, on whichever thread it then runs."""

    def __init__(self, client: Client) -> None:
        self.own = self
        self.client = client

    def __del__(self) -> None:
        self.client.act()


def finalisers(client: Client, times: int) -> None:
    """Have finalisers call methods of the channel, wherever something is allocated."""
    gc.set_threshold(23, 2, 2)
    while client.hits < times:
        Cycle(client)
        client.work()
    gc.set_threshold(700, 10, 10)


def exceptions(client: Client, times: int) -> None:
    """Have handlers raise in the middle of RPCs."""

    def strike(*_: object) -> None:
        client.hit()
        raise Interrupted

    signal.signal(signal.SIGALRM, strike)
    while client.hits < times:
        try:
            # The last one raises as well: none comes outside of this.
            while True:
                later()
                # No futures, nor streams, nor hedges, which are futures beneath: see the test.
                client.call()
                client.call()
        except Interrupted:
            continue
    signal.setitimer(signal.ITIMER_REAL, 0)


def beside(client: Client, over: threading.Event) -> None:
    """Make RPCs on a thread of its own."""
    while not over.is_set():
        client.call()


def left(channel: Any) -> dict[str, int]:
    """What a channel of this package still counts when nothing is under way.

    grpc's threads are still to tell the ends of the calls that were dropped.
    """

    def counted() -> dict[str, int]:
        now = channel.snapshot()
        return {
            "in_flight": now.in_flight,
            "requests": now.breaker_requests,
            "retries": now.breaker_retries,
            "pending": now.breaker_pending + now.waiting_calls,
        }

    until = time.monotonic() + BOUND / 4
    while any((found := counted()).values()) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    return found


def main(mode: str, times: int, target: str, plain: str) -> None:
    """Run one mode over all channels."""
    modes = {"signals": signals, "finalisers": finalisers, "exceptions": exceptions}
    clients = {
        str(number): Client(
            partial(client_resolver.insecure_channel, target, service_config=config), ours=True
        )
        for number, config in enumerate(CONFIGS)
    }
    clients["plain"] = Client(lambda: grpc.insecure_channel(plain), ours=False)
    for name, client in clients.items():
        faulthandler.dump_traceback_later(BOUND, exit=True)
        over = threading.Event()
        # An exception in the middle of an RPC of grpc's own leaves a lock of it taken by the main
        # thread, so that any other thread would wait for it for ever: see `steady`.
        alone = mode == "exceptions" and name == "plain"
        others = [
            threading.Thread(target=beside, args=(client, over)) for _ in range(0 if alone else 2)
        ]
        for other in others:
            other.start()
        modes[mode](client, times)
        over.set()
        for other in others:
            other.join()
        client.future = None
        gc.collect()
        counted = left(client.channel) if name != "plain" else {}
        client.channel.close()
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps({"client": name, "hits": client.hits, "left": counted}), flush=True)
    threads = [thread.name for thread in threading.enumerate() if "lookaside" in thread.name]
    print(json.dumps({"threads": threads}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
