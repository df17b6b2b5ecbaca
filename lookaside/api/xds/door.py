"""The AggregatedDiscoveryService: streams in, sessions' responses out.

Of its streams, each is written to when it takes more, with what holds then: a slow one gets fewer
updates, and no queue grows behind it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

import grpc
from google.protobuf.descriptor import FileDescriptor
from grpc.aio import ServicerContext

from lookaside.api.authorization import Authorizer
from lookaside.api.calls import XDS, Calls, NameBounds, host
from lookaside.api.servicer import CODES, ApiObserver
from lookaside.api.watch import Watch, WatchLimits
from lookaside.api.worker import LoopWorker
from lookaside.errors import RequestError
from lookaside.logging import get_logger
from lookaside.model import ServiceName
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store

if TYPE_CHECKING:
    from lookaside.api.xds.stream import Stream, Streams

Context = ServicerContext[bytes, bytes]

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
STATE_OF_THE_WORLD = "StreamAggregatedResources"
DELTA = "DeltaAggregatedResources"

_log = get_logger("api.xds")


class XdsDoor:
    """Answers both methods of the AggregatedDiscoveryService from the store.

    Args:
        store: What is known.
        readiness: Ends every stream when a shutdown begins.
        observer: Receives every call, for metrics.
        authorizer: Decides what each caller may ask for.
        parse: Reads a service name as the client wrote it.
        limits: What ends a stream that its client keeps open.
        calls: The calls that are open, and how many may be.
        worker: Does what takes long.
        names: How many names may be asked for.
    """

    def __init__(
        self,
        store: Store,
        readiness: Readiness,
        observer: ApiObserver,
        *,
        authorizer: Authorizer,
        parse: Callable[[str], ServiceName],
        limits: WatchLimits,
        calls: Calls,
        worker: LoopWorker,
        names: NameBounds,
    ) -> None:
        self._store = store
        self._readiness = readiness
        self._observer = observer
        self._authorizer = authorizer
        self._parse = parse
        self._limits = limits
        self._calls = calls
        self._worker = worker
        self._names = names
        self._streams: Streams | None = None

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server is to be given."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                STATE_OF_THE_WORLD: grpc.stream_stream_rpc_method_handler(self.stream),
                DELTA: grpc.stream_stream_rpc_method_handler(self.delta),
            },
        )

    async def stream(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """Serve a stream by state of the world."""
        await self._serve(STATE_OF_THE_WORLD, context)

    async def delta(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """Serve a stream of the delta variant."""
        await self._serve(DELTA, context)

    async def _serve(self, method: str, context: Context) -> None:
        with self._calls.running(), Watch(self._readiness, self._limits) as watch:
            try:
                self._calls.admit(XDS, context)
                grant = await self._authorizer.grant(context)
                self._store.require_synced()
                streams = await self._loaded()
                stream = streams.open(
                    host(context.peer()), grant, watch.wake, delta=method == DELTA
                )
                try:
                    await self._talk(stream, watch, context)
                finally:
                    stream.close()
                self._observer.request(method, watch.code.name)
            except RequestError as error:
                code = CODES[type(error)]
                self._observer.request(method, code.name)
                await context.abort(code, str(error))
            except asyncio.CancelledError:
                self._observer.request(method, "CANCELLED")
                raise

    async def _talk(self, stream: "Stream", watch: Watch, context: Context) -> None:
        await watch.begin(context)
        reading = asyncio.create_task(self._read(stream, watch, context), name="xDS requests")
        try:
            while await watch.woken():
                while (message := stream.next()) is not None:
                    if not await watch.write(context, message):
                        break
                    self._observer.pushed()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        watch.finish(context)

    async def _read(self, stream: "Stream", watch: Watch, context: Context) -> None:
        """Handle requests until the client sends no more, or one is refused."""
        try:
            while True:
                # At the end, what is read is a mark of gRPC's, whatever the type stubs say.
                raw: object = await context.read()
                if not isinstance(raw, bytes):
                    break
                await self._worker.run(stream.receiving(raw))
            watch.end(grpc.StatusCode.OK, "")
        except RequestError as error:
            watch.end(CODES[type(error)], str(error))
        except Exception:  # noqa: BLE001 (logged, and told to the client)
            _log.exception("an xDS request could not be handled")
            watch.end(grpc.StatusCode.INTERNAL, "the request could not be handled")

    async def _loaded(self) -> "Streams":
        """Return the factory of streams, which is imported in a thread for the first one."""
        if self._streams is None:
            module = await asyncio.to_thread(import_module, "lookaside.api.xds.stream")
            if self._streams is None:
                self._streams = module.Streams(
                    self._store, self._worker, self._observer, parse=self._parse, bounds=self._names
                )
        return self._streams


def descriptors() -> list[FileDescriptor]:
    """Return the descriptors of the service, for reflection. They are imported when asked for."""
    module = import_module("lookaside.api.xds.descriptors")
    return cast("list[FileDescriptor]", module.FILES)
