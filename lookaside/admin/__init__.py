"""The admin port: metrics, health and status over HTTP."""

from lookaside.admin.server import AdminServer
from lookaside.admin.status import ServiceStatus, SourceStatus, Status

__all__ = ["AdminServer", "ServiceStatus", "SourceStatus", "Status"]
