"""Services of a Kubernetes cluster, from its EndpointSlices and Services.

The only place where the `kubernetes` package is imported.
"""

from lookaside.sources.kubernetes.client import Client
from lookaside.sources.kubernetes.credentials import Credentials, InCluster, Kubeconfig, discover
from lookaside.sources.kubernetes.reflector import Timing
from lookaside.sources.kubernetes.settings import KubernetesSettings
from lookaside.sources.kubernetes.source import KubernetesSource

__all__ = [
    "Client",
    "Credentials",
    "InCluster",
    "Kubeconfig",
    "KubernetesSettings",
    "KubernetesSource",
    "Timing",
    "discover",
]
