"""Services of a Kubernetes cluster, from its EndpointSlices, Services and Pods."""

from lookaside.sources.kubernetes.access_review import (
    REVIEW_TOKENS,
    KubernetesAccess,
    Right,
    watched,
)
from lookaside.sources.kubernetes.api.client import Client
from lookaside.sources.kubernetes.api.credentials import (
    Credentials,
    InCluster,
    Kubeconfig,
    discover,
)
from lookaside.sources.kubernetes.api.token_review import KubernetesTokens
from lookaside.sources.kubernetes.source import KubernetesSource
from lookaside.sources.kubernetes.source_settings import KubernetesSettings
from lookaside.sources.kubernetes.timing import Timing

__all__ = [
    "REVIEW_TOKENS",
    "Client",
    "Credentials",
    "InCluster",
    "Kubeconfig",
    "KubernetesAccess",
    "KubernetesSettings",
    "KubernetesSource",
    "KubernetesTokens",
    "Right",
    "Timing",
    "discover",
    "watched",
]
