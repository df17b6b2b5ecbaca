"""Outlier detection by gRFC A50, and by consecutive errors as Envoy does it."""

from client_resolver.core.outlier.config import (
    DEFAULT_ERROR_CODES,
    FailurePercentageEjection,
    OutlierDetection,
    SuccessRateEjection,
    shows_overload,
)
from client_resolver.core.outlier.detector import Detector, Host

__all__ = [
    "DEFAULT_ERROR_CODES",
    "Detector",
    "FailurePercentageEjection",
    "Host",
    "OutlierDetection",
    "SuccessRateEjection",
    "shows_overload",
]
