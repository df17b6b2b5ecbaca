"""A small client of the Kubernetes API, for tests: requests, watches, and waiting for a state."""

import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Final

Object = dict[str, Any]

MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: The HTTP status code.
        body: The body of the answer, a Status as a rule.
    """

    def __init__(self, status: int, message: str, body: bytes) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.body = body


class ApiClient:
    """Talks to one API server, over a new connection for every request; threads may share it.

    Args:
        host: The server's address.
        port: The server's port.
        context: The TLS context; it may hold a client certificate.
        token: A bearer token, or None.
    """

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, token: str | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._token = token

    def get(self, path: str, **query: str) -> Object:
        """Read an object or a list."""
        return self._decoded("GET", path, query)

    def create(self, path: str, body: Object) -> Object:
        """Create an object in the collection `path`."""
        return self._decoded("POST", path, {}, body)

    def replace(self, path: str, body: Object) -> Object:
        """Replace the object `path`."""
        return self._decoded("PUT", path, {}, body)

    def patch(self, path: str, body: Object, kind: str = MERGE_PATCH) -> Object:
        """Change the object `path` by a patch, a JSON merge patch unless `kind` says otherwise."""
        return self._decoded("PATCH", path, {}, body, kind)

    def delete(self, path: str, grace: int | None = None) -> Object:
        """Delete the object `path`, with a grace period in seconds."""
        query = {} if grace is None else {"gracePeriodSeconds": str(grace)}
        return self._decoded("DELETE", path, query)

    def is_ready(self, timeout: float = 5) -> bool:
        """Say whether the server is up and says within `timeout` seconds that it is ready."""
        try:
            self._raw("GET", "/readyz", {}, timeout=timeout)
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True

    def watch(
        self, path: str, resource_version: str, timeout: float, **query: str
    ) -> Iterator[Object]:
        """Give the events of a collection as they come, until the server ends the watch.

        Args:
            path: The collection.
            resource_version: The version after which to begin.
            timeout: How long to wait for the next event, in seconds.
            query: More parameters: labelSelector, and so on.

        Yields:
            Events: {"type": …, "object": …}.

        Raises:
            TimeoutError: No event has come in time.
            ApiError: The server refused the watch.
        """
        query |= {"watch": "true", "resourceVersion": resource_version}
        with closing(self._connection(timeout)) as connection:
            response = self._send(connection, "GET", path, query)
            with closing(response):
                while line := response.readline():
                    yield json.loads(line)

    def wait(
        self,
        path: str,
        holds: Callable[[list[Object]], bool],
        timeout: float = 30,
        **query: str,
    ) -> list[Object]:
        """Wait until the objects of a collection are as a test wants them, by list and watch.

        Args:
            path: The collection.
            holds: Says whether the objects, ordered by name, are as wanted.
            timeout: How long to wait, in seconds.
            query: More parameters: labelSelector, and so on.

        Returns:
            The objects for which `holds` was true.

        Raises:
            TimeoutError: They were not, in time; the message gives what was there.
        """
        deadline = time.monotonic() + timeout
        objects: dict[str, Object] = {}
        while (left := deadline - time.monotonic()) > 0:
            listed = self.get(path, **query)
            objects = {_key(item): item for item in listed.get("items") or []}
            if holds(_ordered(objects)):
                return _ordered(objects)
            version = listed["metadata"]["resourceVersion"]
            try:
                for event in self.watch(path, version, left, **query):
                    if event["type"] == "ERROR":
                        break
                    _apply(objects, event)
                    if holds(_ordered(objects)):
                        return _ordered(objects)
                    if time.monotonic() > deadline:
                        break
            except TimeoutError:
                break
        found = json.dumps(_ordered(objects), indent=1)
        raise TimeoutError(f"{path} is not as wanted after {timeout} s; there is {found}")

    def _decoded(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        kind: str = "application/json",
    ) -> Object:
        decoded: Object = json.loads(self._raw(method, path, query, body, kind))
        return decoded

    def _raw(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        kind: str = "application/json",
        timeout: float = 30,
    ) -> bytes:
        with (
            closing(self._connection(timeout)) as connection,
            closing(self._send(connection, method, path, query, body, kind)) as response,
        ):
            return response.read()

    def _connection(self, timeout: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout, context=self._context
        )

    def _send(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        kind: str = "application/json",
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json", "Content-Type": kind}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        url = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, url, content, headers)
        response = connection.getresponse()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            with closing(response):
                refusal = response.read()
            raise ApiError(response.status, _message(refusal), refusal)
        return response


def _key(item: Object) -> str:
    metadata = item["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def _ordered(objects: Mapping[str, Object]) -> list[Object]:
    return [objects[key] for key in sorted(objects)]


def _apply(objects: dict[str, Object], event: Object) -> None:
    key = _key(event["object"])
    if event["type"] == "DELETED":
        objects.pop(key, None)
    else:
        objects[key] = event["object"]


def _message(refusal: bytes) -> str:
    try:
        return str(json.loads(refusal)["message"])
    except (ValueError, KeyError, TypeError):
        return refusal.decode(errors="replace")[:500]
