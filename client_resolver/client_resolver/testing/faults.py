"""Faults of a test backend, and the RPCs that they affect."""

import math
import threading
from dataclasses import dataclass, field

import grpc

__all__ = ["Fault", "Faults"]


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        share: For which part of the RPCs, from 0 to 1. It is exact: of n RPCs, `n * share` meet it,
            rounded down.
        method: The method, `/package.Service/Method`. None: all methods.
        delay: Seconds until the RPC is processed. None: it is held until the backend recovers.
        code: What it fails with then. None: it doesn't.
        details: The text of that.
        met: How many RPCs it has been looked up for.

    Raises:
        ValueError: A value is out of range.
    """

    share: float = 1.0
    method: str | None = None
    delay: float | None = 0.0
    code: grpc.StatusCode | None = None
    details: str = ""
    met: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share!r}: from 0 to 1 is allowed")
        if self.delay is not None and not self.delay >= 0:
            raise ValueError(f"delay is {self.delay!r} s: 0 or more is allowed")
        if self.code is grpc.StatusCode.OK:
            raise ValueError("code is OK: that is no failure")

    def hits(self, method: str) -> bool:
        """Count an RPC, and say whether the fault is for it."""
        if self.method is not None and method != self.method:
            return False
        before, self.met = self.met, self.met + 1
        # Ten times 0.1 is to be one.
        return math.floor(self.met * self.share + 1e-9) > math.floor(before * self.share + 1e-9)


class Faults:
    """The faults of one backend. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._held: set[threading.Event] = set()

    def add(self, fault: Fault) -> None:
        """Have RPCs from now on meet a fault."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Take all faults away. RPCs that are held go on."""
        with self._lock:
            self._faults.clear()
            held = list(self._held)
        for going_on in held:
            going_on.set()

    def meet(self, method: str, context: grpc.ServicerContext) -> None:
        """Have an RPC meet what is there for it: return, or end it as `context.abort` does."""
        going_on = threading.Event()
        with self._lock:
            faults = [fault for fault in self._faults if fault.hits(method)]
            if not faults:
                return
            self._held.add(going_on)
        try:
            if not context.add_callback(going_on.set):
                going_on.set()
            for fault in faults:
                going_on.wait(fault.delay)
                if not context.is_active():
                    context.abort(grpc.StatusCode.CANCELLED, "the RPC was given up")
                if fault.code is not None:
                    context.abort(fault.code, fault.details)
        finally:
            with self._lock:
                self._held.discard(going_on)
