"""The LoadBalancer service: requests in, snapshots' bytes out."""

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn, Protocol, TypeVar

import grpc
from grpc.aio import ServicerContext

from lookaside._pb import lookaside_pb2 as pb
from lookaside.api.watch import Watch, WatchLimits
from lookaside.api.wire import summary
from lookaside.errors import (
    AmbiguousPort,
    ExternalNameService,
    InvalidServiceName,
    NotSynced,
    RequestError,
    ServiceNotFound,
)
from lookaside.model import ServiceName
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store
from lookaside.registry.subscription import Published, Subscription

Request = TypeVar("Request")
Response = TypeVar("Response")
WatchContext = ServicerContext[pb.WatchServersRequest, bytes]

SERVICE = pb.DESCRIPTOR.services_by_name["LoadBalancer"].full_name

_CODES: dict[type[RequestError], grpc.StatusCode] = {
    InvalidServiceName: grpc.StatusCode.INVALID_ARGUMENT,
    AmbiguousPort: grpc.StatusCode.INVALID_ARGUMENT,
    ServiceNotFound: grpc.StatusCode.NOT_FOUND,
    ExternalNameService: grpc.StatusCode.FAILED_PRECONDITION,
    NotSynced: grpc.StatusCode.UNAVAILABLE,
}


class ApiObserver(Protocol):
    """What the API tells of itself, for metrics."""

    def watch_opened(self) -> None:
        """A watch began."""

    def watch_closed(self) -> None:
        """A watch ended."""

    def pushed(self) -> None:
        """A message was written to a watch."""

    def request(self, method: str, code: str, seconds: float | None = None) -> None:
        """A call ended, after so many seconds; None for a watch."""


class LoadBalancer:
    """Answers GetServers, WatchServers and ListServices from the store.

    Args:
        store: What is known.
        readiness: Ends every watch when a shutdown begins.
        observer: Is told of every call.
        parse: Reads a service name as the client wrote it.
        limits: What ends a watch that its client keeps open.
    """

    def __init__(
        self,
        store: Store,
        readiness: Readiness,
        observer: ApiObserver,
        *,
        parse: Callable[[str], ServiceName],
        limits: WatchLimits,
    ) -> None:
        self._store = store
        self._readiness = readiness
        self._observer = observer
        self._parse = parse
        self._limits = limits

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server is to be given. Snapshots go out as their own bytes."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "GetServers": grpc.unary_unary_rpc_method_handler(
                    self.get_servers, pb.GetServersRequest.FromString
                ),
                "WatchServers": grpc.unary_stream_rpc_method_handler(
                    self.watch_servers, pb.WatchServersRequest.FromString
                ),
                "ListServices": grpc.unary_unary_rpc_method_handler(
                    self.list_services,
                    pb.ListServicesRequest.FromString,
                    pb.ListServicesResponse.SerializeToString,
                ),
            },
        )

    async def get_servers(
        self, request: pb.GetServersRequest, context: ServicerContext[pb.GetServersRequest, bytes]
    ) -> bytes:
        """Answer with the list as it is now, as the bytes of a GetServersResponse."""
        began = time.monotonic()
        try:
            published = self._store.get(self._parse(request.service_name))
        except RequestError as error:
            await self._refuse(context, "GetServers", error, began)
        self._observer.request("GetServers", "OK", time.monotonic() - began)
        return published.wire

    async def list_services(
        self,
        request: pb.ListServicesRequest,
        context: ServicerContext[pb.ListServicesRequest, pb.ListServicesResponse],
    ) -> pb.ListServicesResponse:
        """Answer with every service that is known."""
        began = time.monotonic()
        try:
            snapshots = self._store.snapshots(request.namespace)
        except RequestError as error:
            await self._refuse(context, "ListServices", error, began)
        self._observer.request("ListServices", "OK", time.monotonic() - began)
        return pb.ListServicesResponse(services=map(summary, snapshots))

    async def watch_servers(self, request: pb.WatchServersRequest, context: WatchContext) -> None:
        """Write the list at once and after every change, as bytes of WatchServersResponses."""
        with Watch(self._readiness, self._limits) as watch:
            try:
                subscription = self._store.subscribe(self._parse(request.service_name), watch.wake)
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

    async def _serve(self, watch: Watch, subscription: Subscription, context: WatchContext) -> None:
        while await watch.woken():
            match subscription.take():
                case None:
                    continue
                case RequestError() as error:
                    await self._refuse(context, "WatchServers", error)
                case Published(wire=wire):
                    if await watch.write(context, wire):
                        self._observer.pushed()
                    subscription.written()
        context.set_code(watch.code)
        context.set_details(watch.details)
        self._observer.request("WatchServers", watch.code.name)

    async def _refuse(
        self,
        context: ServicerContext[Request, Response],
        method: str,
        error: RequestError,
        began: float | None = None,
    ) -> NoReturn:
        code = _CODES[type(error)]
        seconds = None if began is None else time.monotonic() - began
        self._observer.request(method, code.name, seconds)
        await context.abort(code, str(error))
