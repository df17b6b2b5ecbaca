"""The servicer of `grpc.lb.v1.LoadBalancer`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import grpc
from grpc.aio import ServicerContext

from lookaside._pb import grpclb_pb2 as pb
from lookaside.api.authorization import Authorizer
from lookaside.api.calls import GRPCLB, Calls, parsed
from lookaside.api.grpclb.server_list import ServerListForm
from lookaside.api.servicer import CODES, ApiObserver
from lookaside.api.watch import Watch, WatchLimits
from lookaside.api.worker import LoopWorker
from lookaside.errors import InvalidRequest, RequestError, ServiceNotFound
from lookaside.model import CallCounts, ServiceName
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store

SERVICE = pb.DESCRIPTOR.services_by_name["LoadBalancer"].full_name

_METHOD = "BalanceLoad"
_FALLBACK = pb.LoadBalanceResponse(fallback_response=pb.FallbackResponse()).SerializeToString()

Context = ServicerContext[bytes, bytes]


class GrpclbObserver(ApiObserver, Protocol):
    """Receives the events of the door's streams, for metrics."""

    def calls_reported(self, service: ServiceName, counts: CallCounts) -> None:
        """A client reported what its calls to a service came to."""


class GrpclbDoor:
    """Answers BalanceLoad from the store.

    A service that is not known has its clients fall back on what their resolver gave, until it
    appears; one without endpoints is an empty list, with which RPCs fail.

    Args:
        store: What is known.
        readiness: Ends every stream when a shutdown begins.
        observer: Receives an event for every call.
        authorizer: Decides what each caller may ask for.
        parse: Reads a service name as the client wrote it.
        limits: What ends a stream that its client keeps open.
        calls: The calls that are open, and how many may be.
        worker: Does what takes long.
        load_reports: How often clients are asked to report their load, in seconds; 0: never.
    """

    def __init__(
        self,
        store: Store,
        readiness: Readiness,
        observer: GrpclbObserver,
        *,
        authorizer: Authorizer,
        parse: Callable[[str], ServiceName],
        limits: WatchLimits,
        calls: Calls,
        worker: LoopWorker,
        load_reports: float = 0.0,
    ) -> None:
        self._store = store
        self._readiness = readiness
        self._observer = observer
        self._authorizer = authorizer
        self._parse = parse
        self._limits = limits
        self._calls = calls
        self._worker = worker
        self._form = ServerListForm()
        initial = pb.InitialLoadBalanceResponse()
        if load_reports:
            initial.client_stats_report_interval.FromNanoseconds(int(load_reports * 1e9))
        self._initial = pb.LoadBalanceResponse(initial_response=initial).SerializeToString()

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server is to be given. Lists go out as their own bytes."""
        return grpc.method_handlers_generic_handler(
            SERVICE, {_METHOD: grpc.stream_stream_rpc_method_handler(self.balance_load)}
        )

    async def balance_load(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """Write the list at once and after every change, as bytes of LoadBalanceResponses."""
        with self._calls.running(), Watch(self._readiness, self._limits) as watch:
            try:
                self._calls.admit(GRPCLB, context)
                await watch.begin(context)
                name = await self._asked(watch, context)
                if name is not None:
                    await self._serve(watch, name, context)
            except RequestError as error:
                code = CODES[type(error)]
                self._observer.request(_METHOD, code.name)
                await context.abort(code, str(error))
            except asyncio.CancelledError:
                self._observer.request(_METHOD, "CANCELLED")
                raise
        watch.finish(context)
        self._observer.request(_METHOD, watch.code.name)

    async def _asked(self, watch: Watch, context: Context) -> ServiceName | None:
        """Return the name that the first message asks for; None if none comes.

        Raises:
            RequestError: The message is another, or the caller may not ask for the name.
        """
        raw = await watch.read(context)
        if raw is None:
            return None
        request = parsed(pb.LoadBalanceRequest, raw)
        if not request.HasField("initial_request"):
            raise InvalidRequest("the first message of BalanceLoad has no initial_request")
        grant = await self._authorizer.grant(context)
        name = self._parse(request.initial_request.name)
        grant.require(name.key.namespace)
        return name

    async def _serve(self, watch: Watch, name: ServiceName, context: Context) -> None:
        subscription = self._store.subscribe(name, watch.wake, reads=False)
        self._observer.watch_opened()
        try:
            async with self._reading(watch, name, context):
                alive = await watch.write(context, self._initial)
                written = b""
                while alive and await watch.woken():
                    message = await self._list(name)
                    if message != written and await watch.write(context, message):
                        written = message
                        self._observer.pushed()
        finally:
            subscription.close()
            self._observer.watch_closed()

    async def _list(self, name: ServiceName) -> bytes:
        """Return what holds now.

        Raises:
            RequestError: The name can't be answered.
        """
        try:
            published = await self._worker.run(self._store.finding(name))
        except ServiceNotFound:
            return _FALLBACK
        return await self._worker.run(published.forming(self._form))

    @asynccontextmanager
    async def _reading(
        self, watch: Watch, name: ServiceName, context: Context
    ) -> AsyncIterator[None]:
        """Take the client's reports meanwhile; one that can't be read ends the watch."""
        task = asyncio.create_task(self._read(watch, name, context), name=f"{_METHOD} reports")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _read(self, watch: Watch, name: ServiceName, context: Context) -> None:
        while isinstance(raw := await context.read(), bytes):
            try:
                counts = _counts(parsed(pb.LoadBalanceRequest, raw))
                service = self._store.resolve(name)
            except ServiceNotFound:
                continue
            except RequestError as error:
                watch.end(CODES[type(error)], str(error))
                return
            self._observer.calls_reported(service, counts)


def _counts(request: pb.LoadBalanceRequest) -> CallCounts:
    """Return what a client reports.

    Raises:
        InvalidRequest: The message is no report, or counts below 0.
    """
    if not request.HasField("client_stats"):
        raise InvalidRequest("a message of BalanceLoad after the first has no client_stats")
    stats = request.client_stats
    dropped = [drop.num_calls for drop in stats.calls_finished_with_drop]
    counts = CallCounts(
        stats.num_calls_started,
        stats.num_calls_finished,
        stats.num_calls_finished_with_client_failed_to_send,
        stats.num_calls_finished_known_received,
        sum(dropped),
    )
    if min(counts.started, counts.finished, counts.not_sent, counts.received, *dropped, 0) < 0:
        raise InvalidRequest("client_stats counts calls below 0")
    return counts
