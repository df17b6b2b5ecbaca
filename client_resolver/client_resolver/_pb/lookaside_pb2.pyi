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
    __slots__ = ("service_name", "client", "subset_size")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SUBSET_SIZE_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    client: Client
    subset_size: int
    def __init__(self, service_name: _Optional[str] = ..., client: _Optional[_Union[Client, _Mapping]] = ..., subset_size: _Optional[int] = ...) -> None: ...

class GetServersResponse(_message.Message):
    __slots__ = ("servers", "revision", "state", "service", "service_config")
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    servers: _containers.RepeatedCompositeFieldContainer[Server]
    revision: Revision
    state: State
    service: str
    service_config: str
    def __init__(self, servers: _Optional[_Iterable[_Union[Server, _Mapping]]] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ..., state: _Optional[_Union[State, str]] = ..., service: _Optional[str] = ..., service_config: _Optional[str] = ...) -> None: ...

class WatchServersRequest(_message.Message):
    __slots__ = ("service_name", "client", "known", "deltas", "subset_size")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    SUBSET_SIZE_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    client: Client
    known: Revision
    deltas: bool
    subset_size: int
    def __init__(self, service_name: _Optional[str] = ..., client: _Optional[_Union[Client, _Mapping]] = ..., known: _Optional[_Union[Revision, _Mapping]] = ..., deltas: bool = ..., subset_size: _Optional[int] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("base", "removed")
    BASE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    base: str
    removed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, base: _Optional[str] = ..., removed: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchServersResponse(_message.Message):
    __slots__ = ("servers", "revision", "state", "service", "service_config", "delta")
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    servers: _containers.RepeatedCompositeFieldContainer[Server]
    revision: Revision
    state: State
    service: str
    service_config: str
    delta: Delta
    def __init__(self, servers: _Optional[_Iterable[_Union[Server, _Mapping]]] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ..., state: _Optional[_Union[State, str]] = ..., service: _Optional[str] = ..., service_config: _Optional[str] = ..., delta: _Optional[_Union[Delta, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("service", "source", "state", "servers", "revision", "external_name")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_NAME_FIELD_NUMBER: _ClassVar[int]
    service: str
    source: str
    state: State
    servers: int
    revision: Revision
    external_name: str
    def __init__(self, service: _Optional[str] = ..., source: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., servers: _Optional[int] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ..., external_name: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("service_name", "client", "subset_size")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SUBSET_SIZE_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    client: Client
    subset_size: int
    def __init__(self, service_name: _Optional[str] = ..., client: _Optional[_Union[Client, _Mapping]] = ..., subset_size: _Optional[int] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("service", "source", "state", "revision", "notes", "endpoints")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    service: str
    source: str
    state: State
    revision: Revision
    notes: _containers.RepeatedScalarFieldContainer[str]
    endpoints: _containers.RepeatedCompositeFieldContainer[EndpointExplanation]
    def __init__(self, service: _Optional[str] = ..., source: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., revision: _Optional[_Union[Revision, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ..., endpoints: _Optional[_Iterable[_Union[EndpointExplanation, _Mapping]]] = ...) -> None: ...

class EndpointExplanation(_message.Message):
    __slots__ = ("address", "listed", "reason", "slice", "resource_version", "weight", "weight_origin", "target", "locality")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_ORIGIN_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    address: str
    listed: bool
    reason: str
    slice: str
    resource_version: str
    weight: int
    weight_origin: str
    target: str
    locality: Locality
    def __init__(self, address: _Optional[str] = ..., listed: bool = ..., reason: _Optional[str] = ..., slice: _Optional[str] = ..., resource_version: _Optional[str] = ..., weight: _Optional[int] = ..., weight_origin: _Optional[str] = ..., target: _Optional[str] = ..., locality: _Optional[_Union[Locality, _Mapping]] = ...) -> None: ...
