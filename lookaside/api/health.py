"""Health checking, grpc.health.v1: of the whole, and of each service that is balanced.

The overall status, asked for by "" or by a gRPC service's name, is SERVING once every source has
synced and until a shutdown begins. The name of a balanced service, such as ``greeter.default``, is
SERVING while it has backends; to a caller that may not ask for it, it is as one that is not known,
and one that shows no identity where it must can watch the overall status alone.
List gives the overall names alone: the balanced ones may be many thousands.
(https://github.com/grpc/grpc/blob/master/doc/health-checking.md)
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import NoReturn, TypeVar

import grpc
from grpc.aio import ServicerContext
from grpc_health.v1 import health_pb2 as pb

from lookaside.api.authorization import NOTHING, Authorizer, Grant
from lookaside.api.calls import HEALTH, Calls, parsed
from lookaside.api.servicer import CODES, ApiObserver
from lookaside.api.watch import Watch, WatchLimits
from lookaside.errors import (
    NotAllowed,
    NotSynced,
    RequestError,
    ServiceNotFound,
    Unidentified,
    quoted,
)
from lookaside.model import ServiceName
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store

SERVICE = pb.DESCRIPTOR.services_by_name["Health"].full_name

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = ServicerContext[bytes, pb.HealthCheckResponse]


class Health:
    """Answers Check, List and Watch of grpc.health.v1.

    Args:
        store: What is known of the balanced services.
        readiness: What the overall status is made of.
        observer: Receives every call.
        authorizer: Decides what each caller may ask for.
        services: The names of the gRPC services whose status is the overall one.
        parse: Reads the name of a balanced service.
        limits: What ends a watch that its client keeps open.
        calls: The calls that are open, and how many may be.
    """

    def __init__(
        self,
        store: Store,
        readiness: Readiness,
        observer: ApiObserver,
        *,
        authorizer: Authorizer,
        services: frozenset[str],
        parse: Callable[[str], ServiceName],
        limits: WatchLimits,
        calls: Calls,
    ) -> None:
        self._store = store
        self._readiness = readiness
        self._authorizer = authorizer
        self._overall = services | {""}
        self._parse = parse
        self._limits = limits
        self._observer = observer
        self._calls = calls

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server is to be given."""
        write = pb.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.check, response_serializer=write),
                "List": grpc.unary_unary_rpc_method_handler(
                    self.list, response_serializer=pb.HealthListResponse.SerializeToString
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self.watch, response_serializer=write
                ),
            },
        )

    async def check(self, raw: bytes, context: Context) -> pb.HealthCheckResponse:
        """Answer with the status of a service; NOT_FOUND for one that is not known."""
        with self._calls.running():
            try:
                service = parsed(pb.HealthCheckRequest, raw).service
                try:
                    grant = await self._grant(service, context)
                except Unidentified:
                    grant = NOTHING
                status = self._status(service, grant)
                if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
                    raise ServiceNotFound(self._unknown(service, grant))
            except RequestError as error:
                await self._refuse("Check", context, error)
        self._observer.request("Check", "OK")
        return pb.HealthCheckResponse(status=status)

    async def list(
        self, raw: bytes, context: ServicerContext[bytes, pb.HealthListResponse]
    ) -> pb.HealthListResponse:
        """Answer with the overall status under each of its names."""
        try:
            parsed(pb.HealthListRequest, raw)
        except RequestError as error:
            await self._refuse("List", context, error)
        overall = pb.HealthCheckResponse(status=self._status("", NOTHING))
        self._observer.request("List", "OK")
        return pb.HealthListResponse(statuses=dict.fromkeys(self._overall, overall))

    async def watch(self, raw: bytes, context: Context) -> None:
        """Write the status of a service at once and whenever it changes."""
        with self._calls.running(), Watch(self._readiness, self._limits) as watch:
            try:
                self._calls.admit(HEALTH, context)
                service = parsed(pb.HealthCheckRequest, raw).service
                grant = await self._grant(service, context)
            except RequestError as error:
                await self._refuse("Watch", context, error)
            try:
                with ExitStack() as stack:
                    await self._serve(service, grant, watch, stack, context)
            except asyncio.CancelledError:
                self._observer.request("Watch", "CANCELLED")
                raise

    async def _serve(
        self, service: str, grant: Grant, watch: Watch, stack: ExitStack, context: Context
    ) -> None:
        await watch.begin(context)
        watch.wake()
        subscribed = service in self._overall
        told: pb.HealthCheckResponse.ServingStatus | None = None
        alive = True
        while alive:
            alive = await watch.woken()
            if not subscribed:
                subscribed = self._subscribe(service, grant, watch, stack)
            status = self._status(service, grant)
            if status != told:
                alive &= await watch.write(context, pb.HealthCheckResponse(status=status))
                told = status
        watch.finish(context)
        self._observer.request("Watch", watch.code.name)

    async def _grant(self, service: str, context: Context) -> Grant:
        """Return what the caller may ask for; nothing is needed for the overall status.

        Raises:
            Unidentified: The caller shows nothing, or a token that is not good.
            IdentityUnverified: The token can't be checked now.
        """
        if service in self._overall:
            return NOTHING
        return await self._authorizer.grant(context)

    async def _refuse(
        self, method: str, context: ServicerContext[Request, Response], error: RequestError
    ) -> NoReturn:
        code = CODES[type(error)]
        self._observer.request(method, code.name)
        await context.abort(code, str(error))

    def _subscribe(self, service: str, grant: Grant, watch: Watch, stack: ExitStack) -> bool:
        """Have changes of a balanced service wake a watch; False if that must wait for a sync."""
        try:
            subscription = self._store.subscribe(
                self._allowed(service, grant), watch.wake, reads=False
            )
        except NotSynced:
            return False
        except RequestError:
            return True
        stack.callback(subscription.close)
        return True

    def _allowed(self, service: str, grant: Grant) -> ServiceName:
        name = self._parse(service)
        grant.require(name.key.namespace)
        return name

    def _status(self, service: str, grant: Grant) -> pb.HealthCheckResponse.ServingStatus:
        if not self._readiness.ready:
            return pb.HealthCheckResponse.NOT_SERVING
        if service in self._overall:
            return pb.HealthCheckResponse.SERVING
        try:
            count = self._store.count(self._allowed(service, grant))
        except NotSynced:
            return pb.HealthCheckResponse.NOT_SERVING
        except RequestError:
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        return pb.HealthCheckResponse.SERVING if count else pb.HealthCheckResponse.NOT_SERVING

    def _unknown(self, service: str, grant: Grant) -> str:
        """Return why a service has no status; to a caller that may not ask for it, nothing more."""
        try:
            self._store.count(self._allowed(service, grant))
        except (NotAllowed, Unidentified):
            pass
        except RequestError as error:
            return str(error)
        return f"service {quoted(service)} is not known"
