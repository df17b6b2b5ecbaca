"""A watch that keeps every message it has had."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import grpc

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from tests.cluster.balancer import Balancer

Message = pb.WatchServersResponse

_LONGEST: Final = 100.0
_END_TIMEOUT: Final = 10.0


class Watch:
    """Watches one service as a context manager and keeps what it is told.

    Args:
        balancer: Whom it asks.
        service: The service's name.
        asked: More fields of the request: deltas=True, say.
    """

    def __init__(self, balancer: Balancer, service: str, **asked: Any) -> None:
        self._channel = balancer.channel()
        self._request = pb.WatchServersRequest(service_name=service, **asked)
        self._heard = threading.Condition()
        self._messages: list[Message] = []
        self._ended = ""
        self._reader = threading.Thread(target=self._read, name=f"watch {service}", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()
        self._reader.join(_END_TIMEOUT)

    @property
    def messages(self) -> list[Message]:
        """What has come until now."""
        with self._heard:
            return list(self._messages)

    def wait(self, holds: Callable[[Message], bool], timeout: float = 30) -> list[Message]:
        """Wait until the last message is as a test wants it, and give all messages.

        Raises:
            TimeoutError: It was not in time, or the watch ended; with what has come.
        """
        deadline = time.monotonic() + timeout
        with self._heard:
            while not (self._messages and holds(self._messages[-1])):
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise TimeoutError(f"not as wanted: {self._messages}; {self._ended}")
                self._heard.wait(left)
            return list(self._messages)

    def _read(self) -> None:
        stream = LoadBalancerStub(self._channel).WatchServers(self._request, timeout=_LONGEST)
        ended = "the watch ended"
        try:
            for message in stream:
                with self._heard:
                    self._messages.append(message)
                    self._heard.notify_all()
        except grpc.RpcError as error:
            ended = str(error)
        with self._heard:
            self._ended = ended
            self._heard.notify_all()
