"""One attempt of an RPC, and how one ended."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from client_resolver.call.metadata import Metadata
from client_resolver.core.backend import Backend
from client_resolver.telemetry.observer import Attempt as Told

__all__ = ["LOCALLY_CANCELLED", "Attempt", "Status"]

H = TypeVar("H")
C = TypeVar("C")

LOCALLY_CANCELLED: Final = "Locally cancelled by application!"
"""grpc's text for a call that was cancelled here, in both of its Python APIs."""


@dataclass(frozen=True, slots=True)
class Status:
    """The status of an attempt or an RPC.

    Attributes:
        code: The name of its status code.
        details: Its text.
        initial: The initial metadata that the server sent.
        trailing: The trailing metadata that the server sent.
        locally: The application cancelled the RPC.
    """

    code: str
    details: str = ""
    initial: Metadata = ()
    trailing: Metadata = ()
    locally: bool = False


class Attempt(Generic[H, C]):
    """One attempt of an RPC on one backend, from its start to its end.

    Attributes:
        backend: The backend.
        number: 0 for the RPC's first attempt.
        began: When it started, on the machine's clock.
        told: Its record for observers. None: no observer wants it.
        seconds: How long it took. None: its end was not accounted for yet.
        timeout: What grpc is to be given as its timeout, in seconds. None: none.
        limited: That timeout is the policy's for an attempt, not what the RPC has left.
        expires_at: When it is given up without a first response. None: grpc's timeout does that.
        status: How it ended. None: it runs.
        expired: It was given up after the policy's time for an attempt.
        call: grpc's call, of the shell's type. None: grpc has not made it yet.
        connection: Which of the backend's connections the call is on. None: the backend has one.
        reader: What the call reads its stream of requests by. None: it has a single request.
    """

    __slots__ = (
        "backend",
        "began",
        "call",
        "connection",
        "expired",
        "expires_at",
        "limited",
        "number",
        "reader",
        "seconds",
        "status",
        "timeout",
        "told",
    )

    def __init__(self, backend: Backend[H], number: int, began: float, told: Told | None) -> None:
        self.backend = backend
        self.number = number
        self.began = began
        self.told = told
        self.seconds: float | None = None
        self.timeout: float | None = None
        self.limited = False
        self.expires_at: float | None = None
        self.status: Status | None = None
        self.expired = False
        self.call: C | None = None
        self.connection: object = None
        self.reader: object = None

    def bound(self, left: float | None, limit: float | None) -> None:
        """Give grpc the shorter of what the RPC has left and the policy's time for an attempt."""
        self.limited = limit is not None and (left is None or limit < left)
        self.timeout = limit if self.limited else left

    def __repr__(self) -> str:
        state = "runs" if self.status is None else self.status.code
        return f"<Attempt {self.number} at {self.backend.address}: {state}>"
