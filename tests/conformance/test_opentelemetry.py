"""OpenTelemetry's instrumentation of grpc, on channels of this package."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.grpc import aio_client_interceptors, client_interceptor
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import client_resolver
from client_resolver import testing
from client_resolver.testing import Backends

METHOD = "/t.Greeter/SayHello"


class Tracing:
    """Spans in memory, and a trace that the RPCs of the test are a part of."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def of_rpcs(self) -> tuple[ReadableSpan, ...]:
        return tuple(
            span
            for span in self._exporter.get_finished_spans()
            if span.kind is trace.SpanKind.CLIENT
        )


@pytest.fixture
def tracing() -> Tracing:
    return Tracing()


@pytest.fixture
def backends() -> Iterator[Backends]:
    with testing.Backends(2) as started:
        yield started


async def unary(shell: str, backends: Backends, tracing: Tracing, **keywords: Any) -> Any:
    """Make an RPC through the instrumentation, as its documentation says."""
    if shell == "sync":
        return await asyncio.to_thread(unary_sync, backends, tracing, **keywords)
    interceptors = aio_client_interceptors(tracer_provider=tracing.provider)
    channel = client_resolver.aio.insecure_channel(
        backends.target, interceptors=interceptors, **keywords
    )
    async with channel:
        multicallable: Any = channel.unary_unary(METHOD)
        return await multicallable(b"x", timeout=20)


def unary_sync(backends: Backends, tracing: Tracing, **keywords: Any) -> Any:
    with client_resolver.insecure_channel(backends.target, **keywords) as channel:
        interceptor = client_interceptor(tracer_provider=tracing.provider)
        traced = intercept_channel(channel, interceptor)
        return traced.unary_unary(METHOD)(b"x", timeout=20)


async def test_an_rpc_is_a_span_with_its_attributes(
    shell: str, backends: Backends, tracing: Tracing
) -> None:
    assert await unary(shell, backends, tracing) == b"x"
    (span,) = tracing.of_rpcs
    assert span.name.endswith("t.Greeter/SayHello")
    attributes = dict(span.attributes or {})
    assert attributes["rpc.system"] == "grpc"
    assert attributes["rpc.service"] == "t.Greeter"
    assert attributes["rpc.method"] == "SayHello"
    assert attributes["rpc.grpc.status_code"] == 0


async def test_the_trace_reaches_the_backend(
    shell: str, backends: Backends, tracing: Tracing
) -> None:
    with tracing.tracer.start_as_current_span("work") as work:
        assert await unary(shell, backends, tracing) == b"x"
    (received,) = [one for backend in backends for one in backend.received]
    carried = {name: value for name, value in received.metadata if isinstance(value, str)}
    context = trace.get_current_span(propagate.extract(carried)).get_span_context()
    (span,) = tracing.of_rpcs
    assert span.context is not None
    assert context.trace_id == work.get_span_context().trace_id == span.context.trace_id
    assert context.span_id == span.context.span_id


async def test_an_rpc_that_is_tried_again_is_one_span(
    shell: str, backends: Backends, tracing: Tracing, config: Callable[[], dict[str, object]]
) -> None:
    backends[0].fail()
    for _ in range(2):
        assert await unary(shell, backends, tracing, service_config=config()) == b"x"
    codes = [(span.attributes or {})["rpc.grpc.status_code"] for span in tracing.of_rpcs]
    assert codes == [0, 0]


async def test_the_code_of_a_failure_is_in_the_span(
    shell: str, backends: Backends, tracing: Tracing
) -> None:
    for backend in backends:
        backend.fail(grpc.StatusCode.NOT_FOUND, "no such greeting")
    with pytest.raises(grpc.RpcError):
        await unary(shell, backends, tracing)
    (span,) = tracing.of_rpcs
    code = (span.attributes or {})["rpc.grpc.status_code"]
    assert code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.fixture
def config() -> Callable[[], dict[str, object]]:
    retry = {
        "maxAttempts": 3,
        "initialBackoff": "0.01s",
        "maxBackoff": "0.01s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return lambda: {"methodConfig": [{"name": [{}], "retryPolicy": retry}]}
