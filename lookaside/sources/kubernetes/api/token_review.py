"""Whose a Kubernetes token is: the API server's TokenReview.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

import msgspec
from msgspec import Struct, field

from lookaside.model import ServiceAccount
from lookaside.sources.kubernetes.api.client import Client
from lookaside.sources.kubernetes.api.decode import Unreadable, decode
from lookaside.sources.kubernetes.api.errors import MalformedResponse

_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
_PREFIX = "system:serviceaccount:"
_TIMEOUT = 5.0
_LONGEST = 65_536


class _User(Struct):
    username: str = ""


class _Status(Struct):
    authenticated: bool = False
    user: _User = field(default_factory=_User)
    audiences: list[str] | None = None


class _TokenReview(Struct):
    status: _Status


_REVIEW = msgspec.json.Decoder(_TokenReview)


class KubernetesTokens:
    """Has the API server review tokens.

    That requires the right to create TokenReviews, which the ClusterRole ``system:auth-delegator``
    grants.

    Args:
        client: The connection to the API server. It is closed by `close`.
        audience: The audience that tokens must have.
    """

    def __init__(self, client: Client, audience: str) -> None:
        self._client = client
        self._audience = audience

    def __repr__(self) -> str:
        return f"<KubernetesTokens for {self._audience!r}, {self._client!r}>"

    async def prepare(self) -> None:
        """Read the credentials for the first time.

        Raises:
            ConfigError: They can't be read.
        """
        await self._client.prepare()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def review(self, token: str) -> ServiceAccount | None:
        """Return the ServiceAccount that a token was given to.

        Returns:
            None if the token is not good, is for another audience, or is not a ServiceAccount's.

        Raises:
            KubernetesError: The API server can't be asked, or refuses to say.
        """
        body = await self._client.post(
            _PATH,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token, "audiences": [self._audience]},
            },
            limit=_LONGEST,
            connect_timeout=_TIMEOUT,
            read_timeout=_TIMEOUT,
        )
        return reviewed(body, self._audience)


def reviewed(body: bytes, audience: str) -> ServiceAccount | None:
    """Read what the API server says of a token.

    An API server that knows nothing of audiences reviews the token for its own, and names none: a
    token for this audience is one where it is named.

    Args:
        body: The answer.
        audience: The audience that the token must have.

    Raises:
        MalformedResponse: The answer is not a TokenReview.
    """
    try:
        status = decode(_REVIEW, body).status
    except Unreadable as error:
        raise MalformedResponse(f"the answer to a TokenReview can't be read: {error}") from error
    if not status.authenticated or audience not in (status.audiences or ()):
        return None
    if not status.user.username.startswith(_PREFIX):
        return None
    namespace, colon, name = status.user.username.removeprefix(_PREFIX).partition(":")
    return ServiceAccount(namespace, name) if colon else None
