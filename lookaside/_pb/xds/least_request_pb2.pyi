from google.protobuf import wrappers_pb2 as _wrappers_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LeastRequest(_message.Message):
    __slots__ = ("choice_count",)
    CHOICE_COUNT_FIELD_NUMBER: _ClassVar[int]
    choice_count: _wrappers_pb2.UInt32Value
    def __init__(self, choice_count: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ...) -> None: ...
