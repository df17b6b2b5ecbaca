"""Server reflection, by which grpcurl and its kind learn the services: v1 and v1alpha.

grpcio-reflection has v1alpha alone. The messages of both are the same on the wire, so that one
servicer answers under both names; v1's own descriptor is made from v1alpha's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import grpc
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc.aio import ServicerContext
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

from lookaside.api.calls import REFLECTION, Calls, parsed
from lookaside.api.servicer import CODES, ApiObserver
from lookaside.api.watch import Watch, WatchLimits
from lookaside.errors import RequestError
from lookaside.registry.readiness import Readiness

Context = ServicerContext[bytes, reflection_pb2.ServerReflectionResponse]

V1ALPHA = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name
V1 = V1ALPHA.replace("v1alpha", "v1")
_METHOD = "ServerReflectionInfo"


class Reflection:
    """Answers what a stream asks of the services, one request after the other.

    Args:
        files: Gives the descriptors of the services' files, when a first client asks; reflection's
            own is added.
        readiness: Ends every stream when a shutdown begins.
        observer: Receives every call.
        limits: What ends a stream that its client keeps open.
        calls: The calls that are open, and how many may be.
    """

    def __init__(
        self,
        files: Callable[[], Iterable[FileDescriptor]],
        readiness: Readiness,
        observer: ApiObserver,
        *,
        limits: WatchLimits,
        calls: Calls,
    ) -> None:
        self._files = files
        self._describing: asyncio.Future[aio.ReflectionServicer] | None = None
        self._readiness = readiness
        self._observer = observer
        self._limits = limits
        self._calls = calls

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return what a grpc.aio server is to be given."""
        method: grpc.RpcMethodHandler[bytes, reflection_pb2.ServerReflectionResponse] = (
            grpc.stream_stream_rpc_method_handler(
                self.info,
                response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
            )
        )
        return [
            grpc.method_handlers_generic_handler(service, {_METHOD: method})
            for service in (V1, V1ALPHA)
        ]

    async def _servicer(self) -> aio.ReflectionServicer:
        """Return the servicer. It is made for the first stream, in a thread of its own."""
        if self._describing is None:
            self._describing = asyncio.ensure_future(asyncio.to_thread(self._described))
        # A stream that ends meanwhile doesn't stop it: others wait for it too.
        return await asyncio.shield(self._describing)

    def _described(self) -> aio.ReflectionServicer:
        described = [*self._files(), reflection_pb2.DESCRIPTOR]
        pool = _Pool()
        for file in _with_dependencies(described):
            pool.add(_proto(file))
        pool.add(_v1())
        services = [name.full_name for file in described for name in file.services_by_name.values()]
        return aio.ReflectionServicer([*services, V1], pool=pool)

    async def info(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """Answer each request."""
        with self._calls.running(), Watch(self._readiness, self._limits) as watch:
            try:
                self._calls.admit(REFLECTION, context)
                await watch.begin(context)
                servicer = await self._servicer()
                while (raw := await watch.read(context)) is not None:
                    request = parsed(reflection_pb2.ServerReflectionRequest, raw)
                    answers = servicer.ServerReflectionInfo(_alone(request), context)
                    async for answer in answers:
                        await watch.write(context, answer)
                watch.finish(context)
                self._observer.request(_METHOD, watch.code.name)
            except RequestError as error:
                code = CODES[type(error)]
                self._observer.request(_METHOD, code.name)
                await context.abort(code, str(error))
            except asyncio.CancelledError:
                self._observer.request(_METHOD, "CANCELLED")
                raise


async def _alone(
    request: reflection_pb2.ServerReflectionRequest,
) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    yield request


class _Pool:
    """A descriptor pool that also finds methods, which protobuf's own does not."""

    def __init__(self) -> None:
        self._pool = DescriptorPool()

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def add(self, file: FileDescriptorProto) -> None:
        self._pool.AddSerializedFile(file.SerializeToString())

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            parent, _, method = symbol.rpartition(".")
            return (
                self._pool.FindServiceByName(parent).methods_by_name[method].containing_service.file
            )


def _with_dependencies(files: Iterable[FileDescriptor]) -> list[FileDescriptor]:
    """Return files after those that they import, each once."""
    found: dict[str, FileDescriptor] = {}
    for file in files:
        found |= {needed.name: needed for needed in _with_dependencies(file.dependencies)}
        found[file.name] = file
    return list(found.values())


def _proto(file: FileDescriptor) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _name_in_json(message, file.message_types_by_name[message.name])
    return proto


def _name_in_json(proto: DescriptorProto, message: Descriptor) -> None:
    """Put in the JSON names, which Python's descriptors leave out: grpcurl prints them."""
    for field in proto.field:
        field.json_name = message.fields_by_name[field.name].json_name
    for nested in proto.nested_type:
        _name_in_json(nested, message.nested_types_by_name[nested.name])


def _v1() -> FileDescriptorProto:
    text = _proto(reflection_pb2.DESCRIPTOR).SerializeToString()
    proto = FileDescriptorProto.FromString(text)
    proto.name = "grpc/reflection/v1/reflection.proto"
    proto.package = V1.rpartition(".")[0]
    proto.ClearField("options")
    for message in proto.message_type:
        for field in filter(lambda field: field.type_name, message.field):
            field.type_name = field.type_name.replace("v1alpha", "v1")
    for service in proto.service:
        for method in service.method:
            method.input_type = method.input_type.replace("v1alpha", "v1")
            method.output_type = method.output_type.replace("v1alpha", "v1")
    return proto
