"""Load reports of backends: ORCA (gRFC A51), with RPCs or out of band."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["LoadReport"]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One report of one backend.

    Attributes:
        qps: Requests per second that it serves. 0: not said.
        eps: Errors per second that it answers. 0: not said, or none.
        application_utilization: How full it is by its own measure, 1.0 being full and more than
            1.0 allowed. 0: not said.
        cpu_utilization: The same for its CPU.
        mem_utilization: The same for its memory, never more than 1.0.
        utilization: The same for other resources, by name.
        received: When the report came, in seconds on the clock that policies are built with.
    """

    qps: float = 0.0
    eps: float = 0.0
    application_utilization: float = 0.0
    cpu_utilization: float = 0.0
    mem_utilization: float = 0.0
    utilization: Mapping[str, float] = field(default_factory=dict)
    received: float = 0.0

    def weight(self, error_penalty: float) -> float:
        """Work out how many requests per second the backend would serve if it were just full.

        Args:
            error_penalty: What an error rate of 1 adds to the utilization.

        Returns:
            `qps / (utilization + eps/qps * error_penalty)` with the application's utilization,
            or the CPU's where that is not said (gRFC A58). 0: the report doesn't tell.
        """
        utilization = self.application_utilization
        if not utilization > 0:
            utilization = self.cpu_utilization
        if not (self.qps > 0 and utilization > 0):
            return 0.0
        return self.qps / (utilization + max(self.eps, 0.0) / self.qps * error_penalty)
