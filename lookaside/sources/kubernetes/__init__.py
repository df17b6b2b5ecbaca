"""Services of a Kubernetes cluster, from its EndpointSlices, Services and Pods.

The only place where the `kubernetes` package is imported.
"""

from lookaside.sources.kubernetes.client import Client
from lookaside.sources.kubernetes.credentials import Credentials, InCluster, Kubeconfig, discover
from lookaside.sources.kubernetes.settings import KubernetesSettings
from lookaside.sources.kubernetes.source import KubernetesSource
from lookaside.sources.kubernetes.timing import Timing
from lookaside.sources.kubernetes.tokens import KubernetesTokens

__all__ = [
    "Client",
    "Credentials",
    "InCluster",
    "Kubeconfig",
    "KubernetesSettings",
    "KubernetesSource",
    "KubernetesTokens",
    "Timing",
    "discover",
]
