"""Access reviews: asks the API server whether a right is granted.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from lookaside.sources.kubernetes.api.client import Client
from lookaside.sources.kubernetes.api.decode import Unreadable, decode
from lookaside.sources.kubernetes.api.errors import MalformedResponse
from lookaside.sources.kubernetes.objects.resources import (
    PODS_RESOURCE,
    SERVICES_RESOURCE,
    SLICES_RESOURCE,
    Resource,
)

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_LONGEST = 65_536


class Right(Struct, frozen=True):
    """Something that the service must be let do.

    Attributes:
        verbs: The verbs.
        group: The API group; "" for core.
        resource: The resource's name.
        namespace: The one namespace; None: all; "": the resource is in none.
        rule: What gives it, in words.
    """

    verbs: tuple[str, ...]
    group: str
    resource: str
    namespace: str | None
    rule: str

    def __str__(self) -> str:
        where = f" in the namespace {self.namespace}" if self.namespace else ""
        if self.namespace is None:
            where = " in all namespaces"
        return f"{' and '.join(self.verbs)} {self.resource}{where}"


REVIEW_TOKENS = Right(
    ("create",),
    "authentication.k8s.io",
    "tokenreviews",
    "",
    "a ClusterRoleBinding to the ClusterRole system:auth-delegator gives it",
)


def watched(namespace: str | None, *, pods: bool) -> Iterator[Right]:
    """Yield what a source must be let do.

    Args:
        namespace: The namespace that is watched; None: all.
        pods: Whether Pods are watched too.
    """
    resources: list[Resource[Any, Any]] = [SLICES_RESOURCE, SERVICES_RESOURCE]
    if pods:
        resources.append(PODS_RESOURCE)
    for resource in resources:
        yield Right(
            ("list", "watch"),
            resource.group,
            resource.plural,
            namespace,
            resource.rbac_rule(namespace),
        )


class _Version(Struct):
    gitVersion: str = ""  # noqa: N815 - the API's own name


class _Status(Struct):
    allowed: bool = False


class _Review(Struct):
    status: _Status


_VERSION = msgspec.json.Decoder(_Version)
_REVIEW = msgspec.json.Decoder(_Review)


class KubernetesAccess:
    """Asks an API server what it is, and what one may do there.

    Args:
        client: The connection to it. The caller closes it.
        timeout: How long it may be silent, in seconds.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    async def version(self) -> str:
        """Return the version of Kubernetes.

        Raises:
            KubernetesError: The API server can't be asked, or refuses.
        """
        async with self._client.open(
            "/version", {}, connect_timeout=self._timeout, read_timeout=self._timeout
        ) as stream:
            body = bytes(await stream.read(_LONGEST))
        try:
            return decode(_VERSION, body).gitVersion
        except Unreadable as error:
            raise MalformedResponse(f"what answers is no API server: {error}") from error

    async def refused(self, right: Right) -> list[str]:
        """Return the verbs of a right that one has not.

        Raises:
            KubernetesError: The API server can't be asked, or refuses to say.
        """
        return [verb for verb in right.verbs if not await self._allows(right, verb)]

    async def _allows(self, right: Right, verb: str) -> bool:
        body = await self._client.post(
            _REVIEWS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {
                    "resourceAttributes": {
                        "group": right.group,
                        "resource": right.resource,
                        "verb": verb,
                        "namespace": right.namespace or "",
                    }
                },
            },
            limit=_LONGEST,
            connect_timeout=self._timeout,
            read_timeout=self._timeout,
        )
        try:
            return decode(_REVIEW, body).status.allowed
        except Unreadable as error:
            raise MalformedResponse(
                f"the answer to an access review can't be read: {error}"
            ) from error
