import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver import testing
from client_resolver.config.dial import Dialing
from client_resolver.core.model import Connectivity, Endpoint
from client_resolver.core.snapshot import BackendSnapshot, ChannelSnapshot
from client_resolver.sync import backend_connections
from client_resolver.sync.connection import Connection, Connections, Handle, Undialled, one_of
from client_resolver.telemetry.observer import Observer
from client_resolver.testing import Balancer
from tests.client_resolver.sync.loopback import BOUND, Backend
from tests.client_resolver.sync.test_attempts import settles

Start = Callable[..., Backend]
Connect = Callable[..., Any]

READY, IDLE, FAILED, CONNECTING = (
    Connectivity.READY,
    Connectivity.IDLE,
    Connectivity.TRANSIENT_FAILURE,
    Connectivity.CONNECTING,
)


class Part(Connection):
    """A connection in a state that the test sets."""

    def __init__(self, now: Connectivity) -> None:
        self.now = now
        self.asked: list[bool] = []
        self.closed = False

    def state(self, connect: bool) -> Connectivity:
        self.asked.append(connect)
        return self.now


@pytest.mark.parametrize(
    ("states", "together"),
    [
        ([READY, FAILED], READY),
        ([FAILED, CONNECTING], CONNECTING),
        ([FAILED, IDLE], IDLE),
        ([FAILED, FAILED], FAILED),
    ],
)
def test_the_best_state_is_that_of_all(states: list[Connectivity], together: Connectivity) -> None:
    assert Connections([Part(state) for state in states]).state(False) is together


def test_rpcs_take_the_ready_ones_in_turn() -> None:
    parts = [Part(READY), Part(FAILED), Part(READY)]
    together = Connections(parts)
    taken = [one_of(together) for _ in range(6)]
    assert set(map(id, taken)) == {id(parts[0]), id(parts[2])}


def test_what_is_idle_beside_one_that_is_ready_is_connected() -> None:
    ready, idle = Part(READY), Part(IDLE)
    Connections([ready, idle]).state(False)
    assert idle.asked == [False, True]
    assert ready.asked == [False]


def test_a_backend_gets_as_many_connections_as_are_asked_for(
    backend: Start, connect: Connect
) -> None:
    server = backend()
    channel = connect(server, connections_per_backend=3)
    call = channel.unary_unary("/t.T/UU")
    peers: Counter[str] = Counter()

    def note(requests: Any, context: grpc.ServicerContext) -> Any:
        peers[context.peer()] += 1
        yield from requests

    server.script = note
    # Those that are not connected yet are passed over.
    testing.wait_for(lambda: call(b"x", timeout=20) and len(peers) == 3)
    before = dict(peers)
    for _ in range(6):
        assert call(b"x", timeout=20) == b"x"
    assert {peer: peers[peer] - before[peer] for peer in peers} == dict.fromkeys(before, 2)


def test_a_backend_is_dialled_as_the_application_says(backend: Start, connect: Connect) -> None:
    asked: list[Endpoint] = []

    def dial(endpoint: Endpoint) -> Dialing:
        asked.append(endpoint)
        return Dialing(authority="own.example")

    server = backend()
    channel = connect(server, dial=dial)
    assert channel.unary_unary("/t.T/UU")(b"x", timeout=20) == b"x"
    assert [one.address.text for one in asked] == [server.address]


def test_a_backend_that_cannot_be_dialled_fails_and_the_others_are_used(
    backend: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = backend(), backend()

    def dial(endpoint: Endpoint) -> None:
        if endpoint.address.text == bad.address:
            raise OSError("no key for it")

    channel = connect(bad, good, dial=dial, connect="lazy")
    call = channel.unary_unary("/t.T/UU")
    for _ in range(3):
        assert call(b"x", timeout=20, wait_for_ready=True) == b"x"
    assert not bad.metadata
    assert "no key for it" in caplog.text
    assert Undialled().state(True) is FAILED


def test_a_lazy_channel_connects_what_is_picked(backend: Start, connect: Connect) -> None:
    servers = [backend(), backend(), backend()]
    channel = connect(*servers, connect="lazy")
    call = channel.unary_unary("/t.T/UU")
    began = monotonic()
    assert call(b"x", timeout=20) == b"x"
    opened = [one for one in channel.snapshot().backends if one.connectivity is not None]
    # One that takes 250 ms to connect is joined by the next.
    assert len(opened) == 1 or monotonic() - began >= 0.25
    while not all(server.metadata for server in servers):
        call(b"x", timeout=20)


def test_an_idle_connection_is_closed_and_opened_again(backend: Start, connect: Connect) -> None:
    channel = connect(backend(), connect="lazy", idle_timeout=0.1)
    call = channel.unary_unary("/t.T/UU")
    assert call(b"x", timeout=20) == b"x"
    testing.wait_for(lambda: channel.snapshot().backends[0].connectivity is None)
    assert call(b"x", timeout=20) == b"x"


def test_observers_are_told_of_the_channel_and_its_connections(
    backend: Start, connect: Connect
) -> None:
    class Notes(Observer):
        def __init__(self) -> None:
            self.told: list[str] = []
            self.ready = threading.Event()

        def channel_started(self, target: str, snapshot: Any) -> None:
            self.told.append("started")

        def connection_changed(
            self, target: str, backend: str, before: Any, after: Connectivity | None
        ) -> None:
            self.told.append("gone" if after is None else after.value)
            if after is READY:
                self.ready.set()

        def channel_closed(self, target: str, snapshot: Any) -> None:
            assert snapshot().backends == ()
            self.told.append("closed")

    notes = Notes()
    channel = connect(backend(), observers=[notes])
    assert notes.ready.wait(BOUND)
    channel.close()
    assert notes.told[0] == "started"
    assert notes.told[-2:] == ["gone", "closed"]


def test_an_observer_that_fails_does_no_harm(
    backend: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Observer):
        def attempt_started(self, attempt: Any) -> None:
            raise RuntimeError("a broken observer")

    channel = connect(backend(), observers=[Broken()])
    assert channel.unary_unary("/t.T/UU")(b"x", timeout=20) == b"x"
    assert "a broken observer" in caplog.text


def snapshot(channel: Any) -> Sequence[BackendSnapshot]:
    taken: ChannelSnapshot = channel.snapshot()
    return taken.backends


def test_who_finds_out_why_a_connection_fails_holds_nobody_up(
    backend: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, told = threading.Event(), threading.Event()

    def why(_handle: Handle) -> str:
        asked.set()
        told.wait(BOUND)
        return "the reason"

    monkeypatch.setattr(backend_connections, "why", why)
    with (
        socket.socket() as taken,
        Balancer() as balancer,
        client_resolver.insecure_channel(balancer.target("greeter")) as channel,
    ):
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        balancer.serve("greeter", [nobody])
        unary: Any = channel.unary_unary("/t.T/UU")
        call = unary.future(b"x", timeout=BOUND)
        assert asked.wait(BOUND)
        # The driver's thread takes in a list, connects a backend, and starts the RPC that waits.
        balancer.serve("greeter", [nobody, backend().address])
        assert call.result(BOUND) == b"x"
        told.set()
        assert settles(lambda: "the reason" in {one.last_error for one in snapshot(channel)})


def test_where_the_system_gives_no_thread_a_connection_fails_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "lookaside-why":
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = f"static:///127.0.0.1:{taken.getsockname()[1]}"
        with client_resolver.insecure_channel(target) as channel:
            unary: Any = channel.unary_unary("/t.T/UU")
            with pytest.raises(grpc.RpcError, match="TRANSIENT_FAILURE"):
                unary(b"x", timeout=BOUND)
