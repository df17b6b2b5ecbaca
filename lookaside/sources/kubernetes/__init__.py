"""Services of a Kubernetes cluster, from its EndpointSlices, Services and Pods."""

from lookaside.sources.kubernetes.access import (
    REVIEW_TOKENS,
    KubernetesAccess,
    Right,
    watched,
)
from lookaside.sources.kubernetes.client import Client
from lookaside.sources.kubernetes.credentials import Credentials, InCluster, Kubeconfig, discover
from lookaside.sources.kubernetes.settings import KubernetesSettings
from lookaside.sources.kubernetes.source import KubernetesSource
from lookaside.sources.kubernetes.timing import Timing
from lookaside.sources.kubernetes.tokens import KubernetesTokens

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
