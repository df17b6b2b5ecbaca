"""Server reflection, by which grpcurl and its kind learn the services: v1 and v1alpha.

grpcio-reflection has v1alpha alone. The messages of both are the same on the wire, so that one
servicer answers under both names; v1's own descriptor is made from v1alpha's.
"""

from collections.abc import Iterable

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

V1ALPHA = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name
V1 = V1ALPHA.replace("v1alpha", "v1")


def handlers(files: Iterable[FileDescriptor]) -> list[grpc.GenericRpcHandler]:
    """Return what a grpc.aio server is to be given to describe services, reflection among them.

    Args:
        files: The descriptors of the services' files.
    """
    described = [*files, reflection_pb2.DESCRIPTOR]
    pool = _Pool()
    for file in described:
        pool.add(_proto(file))
    pool.add(_v1())
    services = [name.full_name for file in described for name in file.services_by_name.values()]
    servicer = aio.ReflectionServicer([*services, V1], pool=pool)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return [
        grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": method})
        for service in (V1, V1ALPHA)
    ]


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


def _proto(file: FileDescriptor) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    # Python's descriptors leave the JSON names out, and grpcurl would print those of the proto.
    for message in proto.message_type:
        for field in message.field:
            field.json_name = (
                file.message_types_by_name[message.name].fields_by_name[field.name].json_name
            )
    return proto


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
