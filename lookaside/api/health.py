"""Health checking, grpc.health.v1: of the whole, and of each service that is balanced.

The overall status, asked for by "" or by a gRPC service's name, is SERVING once every source has
synced and until a shutdown begins. The name of a balanced service, such as ``greeter.default``, is
SERVING while it has backends; to a caller that may not ask for it, it is as one that is not known.
List gives the overall names alone: the balanced ones may be many thousands.
(https://github.com/grpc/grpc/blob/master/doc/health-checking.md)
"""

from collections.abc import Callable
from contextlib import ExitStack

import grpc
from grpc.aio import ServicerContext
from grpc_health.v1 import health_pb2 as pb

from lookaside.api.authorization import NOTHING, Authorizer, Grant
from lookaside.api.watch import Watch, WatchLimits
from lookaside.errors import IdentityUnverified, NotSynced, RequestError, Unidentified
from lookaside.model import ServiceName
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store

SERVICE = pb.DESCRIPTOR.services_by_name["Health"].full_name

WatchContext = ServicerContext[pb.HealthCheckRequest, pb.HealthCheckResponse]


class Health:
    """Answers Check, List and Watch of grpc.health.v1.

    Args:
        store: What is known of the balanced services.
        readiness: What the overall status is made of.
        authorizer: Decides what each caller may ask for.
        services: The names of the gRPC services whose status is the overall one.
        parse: Reads the name of a balanced service.
        limits: What ends a watch that its client keeps open.
    """

    def __init__(
        self,
        store: Store,
        readiness: Readiness,
        *,
        authorizer: Authorizer,
        services: frozenset[str],
        parse: Callable[[str], ServiceName],
        limits: WatchLimits,
    ) -> None:
        self._store = store
        self._readiness = readiness
        self._authorizer = authorizer
        self._overall = services | {""}
        self._parse = parse
        self._limits = limits

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server is to be given."""
        read, write = pb.HealthCheckRequest.FromString, pb.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.check, read, write),
                "List": grpc.unary_unary_rpc_method_handler(
                    self.list,
                    pb.HealthListRequest.FromString,
                    pb.HealthListResponse.SerializeToString,
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(self.watch, read, write),
            },
        )

    async def check(
        self, request: pb.HealthCheckRequest, context: WatchContext
    ) -> pb.HealthCheckResponse:
        """Answer with the status of a service; NOT_FOUND for one that is not known."""
        grant = await self._grant(request.service, context)
        status = self._status(request.service, grant)
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"service {request.service!r} is not known"
            )
        return pb.HealthCheckResponse(status=status)

    async def list(
        self,
        request: pb.HealthListRequest,  # noqa: ARG002 - grpc passes both
        context: ServicerContext[pb.HealthListRequest, pb.HealthListResponse],  # noqa: ARG002
    ) -> pb.HealthListResponse:
        """Answer with the overall status under each of its names."""
        overall = pb.HealthCheckResponse(status=self._status("", NOTHING))
        return pb.HealthListResponse(statuses=dict.fromkeys(self._overall, overall))

    async def watch(self, request: pb.HealthCheckRequest, context: WatchContext) -> None:
        """Write the status of a service at once and whenever it changes."""
        grant = await self._grant(request.service, context)
        with Watch(self._readiness, self._limits) as watch, ExitStack() as stack:
            watch.wake()
            subscribed = request.service in self._overall
            told: pb.HealthCheckResponse.ServingStatus | None = None
            alive = True
            while alive:
                alive = await watch.woken()
                if not subscribed:
                    subscribed = self._subscribe(request.service, grant, watch, stack)
                status = self._status(request.service, grant)
                if status != told:
                    await watch.write(context, pb.HealthCheckResponse(status=status))
                    told = status
            context.set_code(watch.code)
            context.set_details(watch.details)

    async def _grant(self, service: str, context: WatchContext) -> Grant:
        if service in self._overall:
            return NOTHING
        try:
            return await self._authorizer.grant(context)
        except Unidentified:
            return NOTHING
        except IdentityUnverified as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    def _subscribe(self, service: str, grant: Grant, watch: Watch, stack: ExitStack) -> bool:
        """Have changes of a balanced service wake a watch; False if that must wait for a sync."""
        try:
            subscription = self._store.subscribe(self._allowed(service, grant), watch.wake)
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
            snapshot = self._store.get(self._allowed(service, grant)).snapshot
        except RequestError:
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        return (
            pb.HealthCheckResponse.SERVING
            if snapshot.endpoints
            else pb.HealthCheckResponse.NOT_SERVING
        )
