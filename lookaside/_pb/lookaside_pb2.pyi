from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_PRESENT: _ClassVar[State]
    STATE_EMPTY: _ClassVar[State]
    STATE_ABSENT: _ClassVar[State]
    STATE_STALE: _ClassVar[State]

class Health(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEALTH_UNSPECIFIED: _ClassVar[Health]
    HEALTH_READY: _ClassVar[Health]
    HEALTH_TERMINATING: _ClassVar[Health]
STATE_UNSPECIFIED: State
STATE_PRESENT: State
STATE_EMPTY: State
STATE_ABSENT: State
STATE_STALE: State
HEALTH_UNSPECIFIED: Health
HEALTH_READY: Health
HEALTH_TERMINATING: Health

class Client(_message.Message):
    __slots__ = ("id", "zone", "node")
    ID_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    zone: str
    node: str
    def __init__(self, id: _Optional[str] = ..., zone: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ("digest", "version", "epoch")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    digest: str
    version: int
    epoch: str
    def __init__(self, digest: _Optional[str] = ..., version: _Optional[int] = ..., epoch: _Optional[str] = ...) -> None: ...

class Locality(_message.Message):
    __slots__ = ("zone", "node")
    ZONE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    zone: str
    node: str
    def __init__(self, zone: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class GetServersRequest(_message.Message):
    __slots__ = ("service_name", "client")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    client: Client
    def __init__(self, service_name: _Optional[str] = ..., client: _Optional[_Union[Client, _Mapping]] = ...) -> None: ...

class GetServersResponse(_message.Message):
    __slots__ = ("servers", "revision", "state", "service")
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    servers: _containers.RepeatedCompositeFieldContainer[Server]
    revision: Revision
    state: State
    service: str
    def __init__(self, servers: _Optional[_Iterable[_Union[Server, _Mapping]]] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ..., state: _Optional[_Union[State, str]] = ..., service: _Optional[str] = ...) -> None: ...

class WatchServersRequest(_message.Message):
    __slots__ = ("service_name", "client")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    client: Client
    def __init__(self, service_name: _Optional[str] = ..., client: _Optional[_Union[Client, _Mapping]] = ...) -> None: ...

class WatchServersResponse(_message.Message):
    __slots__ = ("servers", "revision", "state", "service")
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    servers: _containers.RepeatedCompositeFieldContainer[Server]
    revision: Revision
    state: State
    service: str
    def __init__(self, servers: _Optional[_Iterable[_Union[Server, _Mapping]]] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ..., state: _Optional[_Union[State, str]] = ..., service: _Optional[str] = ...) -> None: ...

class Server(_message.Message):
    __slots__ = ("address", "weight", "metadata", "locality", "health")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    address: str
    weight: int
    metadata: _containers.ScalarMap[str, str]
    locality: Locality
    health: Health
    def __init__(self, address: _Optional[str] = ..., weight: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., locality: _Optional[_Union[Locality, _Mapping]] = ..., health: _Optional[_Union[Health, str]] = ...) -> None: ...

class ListServicesRequest(_message.Message):
    __slots__ = ("namespace",)
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    def __init__(self, namespace: _Optional[str] = ...) -> None: ...

class ListServicesResponse(_message.Message):
    __slots__ = ("services",)
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    services: _containers.RepeatedCompositeFieldContainer[ServiceSummary]
    def __init__(self, services: _Optional[_Iterable[_Union[ServiceSummary, _Mapping]]] = ...) -> None: ...

class ServiceSummary(_message.Message):
    __slots__ = ("service", "source", "state", "servers", "revision")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    service: str
    source: str
    state: State
    servers: int
    revision: Revision
    def __init__(self, service: _Optional[str] = ..., source: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., servers: _Optional[int] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ...) -> None: ...
