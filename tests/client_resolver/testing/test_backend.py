"""Backends, looked at with grpc's own channels."""

import errno
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from client_resolver import testing
from client_resolver.call.load_report import LOAD_REPORT_TEXT, load_report_text

METHOD = "/t.Greeter/SayHello"
OTHER = "/t.Greeter/SayGoodbye"
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


def add_greeter(server: grpc.Server) -> None:
    """Add a servicer of all four kinds, which sets trailing metadata of its own."""

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("own", "1"),))
        return b"hello " + request

    def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield unary(request, context)
        yield b"bye"

    handlers: dict[str, Any] = {
        "unary_unary": grpc.unary_unary_rpc_method_handler(unary),
        "unary_stream": grpc.unary_stream_rpc_method_handler(stream),
        "stream_unary": grpc.stream_unary_rpc_method_handler(
            lambda requests, context: unary(b"".join(requests), context)
        ),
        "stream_stream": grpc.stream_stream_rpc_method_handler(
            lambda requests, context: stream(b"".join(requests), context)
        ),
        "Broken": grpc.unary_unary_rpc_method_handler(lambda _request, _context: 1 // 0),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.G", handlers),))


@pytest.fixture
def backend() -> Iterator[testing.Backend]:
    with testing.Backend() as one:
        yield one


@pytest.fixture
def channel(backend: testing.Backend) -> Iterator[Any]:
    # Without the cache of connections that one process's channels share.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(backend.address, options) as one:
        yield one


def ask(channel: Any, method: str = METHOD, **kwargs: Any) -> bytes:
    response: bytes = channel.unary_unary(method)(b"x", timeout=20, **kwargs)
    return response


def code_of(channel: Any, method: str = METHOD, timeout: float = 20) -> grpc.StatusCode:
    code: grpc.StatusCode = channel.unary_unary(method).future(b"x", timeout=timeout).code()
    return code


def test_without_a_servicer_every_method_answers_what_it_was_sent(channel: Any) -> None:
    assert ask(channel, "/any.Service/AtAll") == b"x"
    assert list(channel.stream_stream("/a.B/C")(iter([b"1", b"2"]), timeout=20)) == [b"1", b"2"]


@pytest.mark.parametrize("kind", KINDS)
def test_servicers_of_all_kinds_are_served_and_counted(kind: str) -> None:
    with (
        testing.Backend(add_greeter) as backend,
        grpc.insecure_channel(backend.address) as channel,
    ):
        request = b"x" if kind.startswith("unary") else iter([b"x"])
        answer = getattr(channel, kind)(f"/t.G/{kind}")(request, timeout=20)
        answers = [answer] if kind.endswith("unary") else list(answer)
        assert answers == [b"hello x", b"bye"][: 1 if kind.endswith("unary") else 2]
        assert backend.calls == {f"/t.G/{kind}": 1}


def test_the_rpcs_that_came_are_kept_with_their_metadata(
    backend: testing.Backend, channel: Any
) -> None:
    ask(channel, metadata=(("who", "me"), ("who", "you")))
    (received,) = backend.received
    assert received.method == METHOD
    assert [value for name, value in received.metadata if name == "who"] == ["me", "you"]
    assert received.peer.startswith("ipv4:127.0.0.1:")
    backend.clear_calls()
    assert not backend.received


def test_a_method_that_is_not_served_is_not_counted() -> None:
    with (
        testing.Backend(add_greeter) as backend,
        grpc.insecure_channel(backend.address) as channel,
    ):
        assert code_of(channel, "/no.Such/Method") is grpc.StatusCode.UNIMPLEMENTED
        assert not backend.calls


def test_an_exact_share_fails_and_is_counted(backend: testing.Backend, channel: Any) -> None:
    backend.fail(grpc.StatusCode.INTERNAL, "broken", share=0.5)
    codes = [code_of(channel).name for _ in range(6)]
    assert codes == ["OK", "INTERNAL"] * 3
    assert backend.calls[METHOD] == 6


def test_a_failure_has_the_text_that_was_set(backend: testing.Backend, channel: Any) -> None:
    backend.fail(grpc.StatusCode.INTERNAL, "broken")
    with pytest.raises(grpc.RpcError, match="broken"):
        ask(channel)


def test_a_fault_may_be_for_one_method_alone(backend: testing.Backend, channel: Any) -> None:
    backend.fail(method=METHOD)
    assert code_of(channel) is grpc.StatusCode.UNAVAILABLE
    assert ask(channel, OTHER) == b"x"


def test_a_backend_that_recovers_serves_again(backend: testing.Backend, channel: Any) -> None:
    backend.fail()
    assert code_of(channel) is grpc.StatusCode.UNAVAILABLE
    backend.recover()
    assert ask(channel) == b"x"


def test_an_rpc_that_hangs_goes_on_when_the_backend_recovers(
    backend: testing.Backend, channel: Any
) -> None:
    backend.hang()
    held = channel.unary_unary(METHOD).future(b"x", timeout=20)
    backend.wait_for_in_flight(1)
    assert not held.done()
    backend.recover()
    assert held.result() == b"x"
    backend.wait_for_in_flight(0)


def test_an_rpc_that_hangs_ends_with_its_deadline_and_leaves_no_thread_waiting(
    backend: testing.Backend, channel: Any
) -> None:
    backend.hang()
    assert code_of(channel, timeout=0.05) is grpc.StatusCode.DEADLINE_EXCEEDED
    backend.wait_for_in_flight(0)


def test_an_rpc_that_is_delayed_by_more_than_its_deadline_ends_with_it(
    backend: testing.Backend, channel: Any
) -> None:
    backend.delay(60, share=0.5)
    assert code_of(channel) is grpc.StatusCode.OK
    assert code_of(channel, timeout=0.05) is grpc.StatusCode.DEADLINE_EXCEEDED
    backend.wait_for_in_flight(0)


def test_faults_add_up_in_the_order_they_were_set(backend: testing.Backend, channel: Any) -> None:
    backend.hang()
    backend.fail(grpc.StatusCode.ABORTED)
    held = channel.unary_unary(METHOD).future(b"x", timeout=20)
    backend.wait_for_in_flight(1)
    backend.recover()
    assert held.code() is grpc.StatusCode.ABORTED
    assert ask(channel) == b"x"


@pytest.mark.parametrize("kind", KINDS)
def test_load_reports_go_out_beside_the_servicers_own_metadata(kind: str) -> None:
    with (
        testing.Backend(add_greeter) as backend,
        grpc.insecure_channel(backend.address) as channel,
    ):
        backend.report(qps=7.5, eps=1, application_utilization=0.5, utilization={"gpu": 0.25})
        multicallable = getattr(channel, kind)(f"/t.G/{kind}")
        request = b"x" if kind.startswith("unary") else iter([b"x"])
        call = (multicallable.future if kind.endswith("unary") else multicallable)(
            request, timeout=20
        )
        if kind.endswith("stream"):
            assert len(list(call)) == 2
        trailing = dict(call.trailing_metadata())
        assert trailing["own"] == "1"
        report = load_report_text(trailing[LOAD_REPORT_TEXT], 3.0)
        assert report is not None
        assert (report.qps, report.eps, report.received) == (7.5, 1.0, 3.0)
        assert (report.application_utilization, report.utilization) == (0.5, {"gpu": 0.25})


def test_load_reports_go_out_with_failures_too(backend: testing.Backend, channel: Any) -> None:
    backend.report(qps=1, cpu_utilization=0.5, mem_utilization=0.25)
    backend.fail()
    call = channel.unary_unary(METHOD).future(b"x", timeout=20)
    report = load_report_text(dict(call.trailing_metadata())[LOAD_REPORT_TEXT], 0.0)
    assert report is not None
    assert (report.cpu_utilization, report.mem_utilization) == (0.5, 0.25)


def test_an_rpc_whose_servicer_raises_is_no_longer_in_flight() -> None:
    with (
        testing.Backend(add_greeter) as backend,
        grpc.insecure_channel(backend.address) as channel,
    ):
        assert code_of(channel, "/t.G/Broken") is grpc.StatusCode.UNKNOWN
        backend.wait_for_in_flight(0)


def test_health_checks_are_answered_and_neither_counted_nor_hit_by_faults(
    backend: testing.Backend, channel: Any
) -> None:
    backend.fail()
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=20) == b"\x08\x01"
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
    assert next(watch) == b"\x08\x01"
    backend.set_healthy(False)
    assert next(watch) == b"\x08\x02"
    assert check(b"", timeout=20) == b"\x08\x02"
    backend.set_healthy(True)
    assert next(watch) == b"\x08\x01"
    assert not backend.received


def test_a_stop_with_a_grace_lets_rpcs_end_and_does_not_wait_for_watches_of_health(
    backend: testing.Backend, channel: Any
) -> None:
    backend.hang()
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
    assert next(watch) == b"\x08\x01"
    held = channel.unary_unary(METHOD).future(b"x", timeout=20)
    backend.wait_for_in_flight(1)
    stopping = threading.Thread(target=backend.stop, args=(20,))
    stopping.start()
    assert list(watch) == []
    backend.recover()
    assert held.result() == b"x"
    stopping.join(20)
    assert not stopping.is_alive()
    assert not backend.running


def test_a_stop_without_a_grace_ends_what_hangs(backend: testing.Backend, channel: Any) -> None:
    backend.hang()
    held = channel.unary_unary(METHOD).future(b"x", timeout=20)
    backend.wait_for_in_flight(1)
    backend.stop()
    assert held.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    backend.wait_for_in_flight(0)
    backend.stop()


def test_a_backend_comes_back_on_its_port(backend: testing.Backend, channel: Any) -> None:
    address = backend.address
    ask(channel)
    backend.stop()
    assert repr(backend) == f"<Backend {address}: stopped>"
    backend.restart()
    assert backend.address == address
    assert ask(channel, wait_for_ready=True) == b"x"
    assert backend.calls[METHOD] == 2
    assert repr(backend) == f"<Backend {address}: listens>"


def test_the_port_of_a_backend_that_is_stopped_is_given_to_nobody_else() -> None:
    backend = testing.Backend()
    backend.stop()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", backend.port))
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", backend.port)) == errno.ECONNREFUSED


def test_what_does_not_come_is_told_after_the_timeout(backend: testing.Backend) -> None:
    with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 1 RPCs to come"):
        backend.wait_for_calls(1, timeout=0.01)
    with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 1 RPCs in flight"):
        backend.wait_for_in_flight(1, timeout=0.01)


def test_several_backends_count_and_recover_together() -> None:
    with testing.Backends(2) as backends:
        (third,) = backends.start()
        assert list(backends) == [*backends[:2], third]
        assert backends.target == "static:///" + ",".join(one.address for one in backends)
        third.fail()
        with grpc.insecure_channel(third.address) as channel:
            assert code_of(channel) is grpc.StatusCode.UNAVAILABLE
            backends.recover()
            assert ask(channel) == b"x"
        third.wait_for_calls(2)
        assert backends.calls == [0, 0, 2]
        backends.clear_calls()
        assert backends.calls == [0, 0, 0]
    assert not any(one.running for one in backends)
