"""The LoadBalancer service: requests in, snapshots' bytes out."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn, Protocol, TypeVar

import grpc
from grpc.aio import ServicerContext

from lookaside._pb import lookaside_pb2 as pb
from lookaside.api.authorization import Authorizer
from lookaside.api.calls import WATCHES, CallObserver, Calls, parsed
from lookaside.api.watch import Watch, WatchLimits
from lookaside.api.wire import explanation, summaries
from lookaside.api.worker import LoopWorker
from lookaside.errors import (
    AmbiguousPort,
    ExternalNameService,
    IdentityUnverified,
    InvalidRequest,
    InvalidServiceName,
    NotAllowed,
    NotSynced,
    RequestError,
    ServiceNotFound,
    TooManyNames,
    TooManyStreams,
    Unidentified,
)
from lookaside.model import ServiceName
from lookaside.policy.topology import Place
from lookaside.policy.view import View
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store
from lookaside.registry.subscription import Subscription

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = ServicerContext[bytes, bytes]

SERVICE = pb.DESCRIPTOR.services_by_name["LoadBalancer"].full_name

CODES: dict[type[RequestError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidServiceName: grpc.StatusCode.INVALID_ARGUMENT,
    AmbiguousPort: grpc.StatusCode.INVALID_ARGUMENT,
    ServiceNotFound: grpc.StatusCode.NOT_FOUND,
    ExternalNameService: grpc.StatusCode.FAILED_PRECONDITION,
    NotSynced: grpc.StatusCode.UNAVAILABLE,
    Unidentified: grpc.StatusCode.UNAUTHENTICATED,
    IdentityUnverified: grpc.StatusCode.UNAVAILABLE,
    NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    TooManyStreams: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyNames: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class ApiObserver(CallObserver, Protocol):
    """Receives events of the API, for metrics."""

    def watch_opened(self) -> None:
        """A watch began."""

    def watch_closed(self) -> None:
        """A watch ended."""

    def pushed(self) -> None:
        """A message was written to a watch."""

    def request(self, method: str, code: str, seconds: float | None = None) -> None:
        """A call ended; `seconds` is its duration, None for a watch."""

    def xds_refused(self, kind: str, resource: str) -> None:
        """A client of this kind refused a response with resources of this type."""

    def xds_withheld(self, kind: str) -> None:
        """A resource for this kind of client was not sent, since the client might refuse it."""


class LoadBalancer:
    """Answers GetServers, WatchServers, ListServices and Explain from the store.

    Args:
        store: What is known.
        readiness: Ends every watch when a shutdown begins.
        observer: Receives every call.
        authorizer: Decides what each caller may ask for.
        parse: Reads a service name as the client wrote it.
        limits: What ends a watch that its client keeps open.
        calls: The calls that are open, and how many may be.
        worker: Does what takes long.
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
    ) -> None:
        self._store = store
        self._readiness = readiness
        self._observer = observer
        self._authorizer = authorizer
        self._parse = parse
        self._limits = limits
        self._calls = calls
        self._worker = worker
        self._explaining = asyncio.Semaphore(1)

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server is to be given. Snapshots go out as their own bytes."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "GetServers": grpc.unary_unary_rpc_method_handler(self.get_servers),
                "WatchServers": grpc.unary_stream_rpc_method_handler(self.watch_servers),
                "ListServices": grpc.unary_unary_rpc_method_handler(self.list_services),
                "Explain": grpc.unary_unary_rpc_method_handler(self.explain),
            },
        )

    async def get_servers(self, raw: bytes, context: Context) -> bytes:
        """Answer with the list as it is now, as the bytes of a GetServersResponse."""
        async with self._answering("GetServers", context):
            request = parsed(pb.GetServersRequest, raw)
            name = await self._allowed(request.service_name, context)
            published = await self._worker.run(self._store.getting(name, _view(request)))
            return published.whole()

    async def list_services(self, raw: bytes, context: Context) -> bytes:
        """Answer with every service that is known and that the caller may ask for."""
        async with self._answering("ListServices", context):
            request = parsed(pb.ListServicesRequest, raw)
            grant = await self._authorizer.grant(context)
            if request.namespace:
                grant.require(request.namespace)
            snapshots = await self._worker.run(self._store.listing(request.namespace))
            allowed = [one for one in snapshots if grant.allows(one.service.key.namespace)]
            return await self._worker.run(summaries(allowed))

    async def explain(self, raw: bytes, context: Context) -> bytes:
        """Answer with every endpoint of a service and why it is in its list or not."""
        async with self._answering("Explain", context):
            request = parsed(pb.ExplainRequest, raw)
            name = await self._allowed(request.service_name, context)
            explained = self._store.explaining(name, _view(request))
            # One at a time: each thread that computes has the loop wait for the interpreter.
            async with self._explaining:
                return await asyncio.to_thread(lambda: explanation(*explained()))

    async def watch_servers(self, raw: bytes, context: Context) -> None:
        """Write the list at once and after every change, as bytes of WatchServersResponses."""
        with self._calls.running(), Watch(self._readiness, self._limits) as watch:
            try:
                self._calls.admit(WATCHES, context)
                request = parsed(pb.WatchServersRequest, raw)
                name = await self._allowed(request.service_name, context)
                subscription = self._store.subscribe(
                    name,
                    watch.wake,
                    view=_view(request),
                    known=request.known.digest,
                    deltas=request.deltas,
                )
            except RequestError as error:
                await self._refuse(context, "WatchServers", error)
            self._observer.watch_opened()
            try:
                await self._serve(watch, subscription, context)
            except asyncio.CancelledError:
                self._observer.request("WatchServers", "CANCELLED")
                raise
            finally:
                subscription.close()
                self._observer.watch_closed()

    @asynccontextmanager
    async def _answering(
        self, method: str, context: ServicerContext[Request, Response]
    ) -> AsyncIterator[None]:
        """Tell the observer how a unary call ended, and the caller what it was refused for."""
        began = time.monotonic()
        with self._calls.running():
            try:
                yield
            except RequestError as error:
                await self._refuse(context, method, error, began)
        self._observer.request(method, "OK", time.monotonic() - began)

    async def _allowed(
        self, service_name: str, context: ServicerContext[Request, Response]
    ) -> ServiceName:
        """Read a service name that the caller must be allowed to ask for.

        Raises:
            RequestError: It may not, or the name is malformed.
        """
        grant = await self._authorizer.grant(context)
        name = self._parse(service_name)
        grant.require(name.key.namespace)
        return name

    async def _serve(self, watch: Watch, subscription: Subscription, context: Context) -> None:
        await watch.begin(context)
        while await watch.woken():
            match await self._worker.run(subscription.taking()):
                case None:
                    continue
                case RequestError() as error:
                    await self._refuse(context, "WatchServers", error)
                case bytes() as message:
                    if await watch.write(context, message):
                        self._observer.pushed()
                    subscription.written()
        watch.finish(context)
        self._observer.request("WatchServers", watch.code.name)

    async def _refuse(
        self,
        context: ServicerContext[Request, Response],
        method: str,
        error: RequestError,
        began: float | None = None,
    ) -> NoReturn:
        code = CODES[type(error)]
        seconds = None if began is None else time.monotonic() - began
        self._observer.request(method, code.name, seconds)
        await context.abort(code, str(error))


def _view(request: pb.GetServersRequest | pb.WatchServersRequest | pb.ExplainRequest) -> View:
    """Return who asks, as far as it decides over the list.

    Raises:
        InvalidRequest: A subset is asked for, and no client is named whose it would be.
    """
    client = request.client
    if request.subset_size and not client.id:
        raise InvalidRequest("subset_size is set and client.id is not: a subset is a client's own")
    return View(
        Place(client.zone, client.node),
        request.subset_size,
        client.id if request.subset_size else "",
    )
