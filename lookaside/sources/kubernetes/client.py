"""The connection to the API server: `kubernetes.aio` for addresses, credentials and TLS.

Foreign errors end here.
"""

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.credentials import Credentials
from lookaside.sources.kubernetes.decode import decode_status
from lookaside.sources.kubernetes.errors import (
    Broken,
    KubernetesError,
    Oversized,
    Silent,
    Unreachable,
)

_STATUS_LIMIT = 65_536
_CREDENTIALS_TIMEOUT = 30.0


class Stream(Protocol):
    """The body of an answer."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield what comes, as it comes.

        Raises:
            Silent: Nothing came within the read timeout.
            Broken: The connection ended in the middle.
        """

    async def read(self, limit: int) -> bytes:
        """Return the whole of it.

        Args:
            limit: The longest that is accepted, in bytes.

        Raises:
            Oversized: It is longer.
            Silent: Nothing came within the read timeout.
            Broken: The connection ended in the middle.
        """

    def close(self) -> None:
        """End it now; whoever is reading gets `Broken`, or the end."""


class Opener(Protocol):
    """Opens answers to GET requests. A reflector needs no more of a client."""

    def open(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str,
        connect_timeout: float,
        read_timeout: float,
    ) -> AbstractAsyncContextManager[Stream]:
        """Send a GET and enter with the body of a good answer.

        Args:
            path: The path, from the root.
            query: The query's parameters.
            accept: The header Accept.
            connect_timeout: How long a connection may take, in seconds.
            read_timeout: How long the server may be silent, in seconds.

        Raises:
            ApiStatus: The server refused.
            Unreachable: There is no connection.
            Silent: No answer came within the read timeout.
            Broken: The connection ended before the answer.
        """


class _Body:
    """A `Stream` of aiohttp."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            with _translated():
                chunk = await self._response.content.readany()
            if not chunk:
                return
            yield chunk

    async def read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise Oversized(f"an answer is longer than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def close(self) -> None:
        self._response.close()


class _Session:
    """An `ApiClient` and the TLS settings that it was built with."""

    def __init__(self, configuration: Configuration, fingerprint: bytes, user_agent: str) -> None:
        self.api = ApiClient(configuration)
        self.api.user_agent = user_agent
        self.fingerprint = fingerprint
        self.requests = 0
        self.retired = False


class Client:
    """An `Opener` for one API server, which can be posted to as well.

    Built and closed inside a running event loop. Credentials are read again for each request. When
    what TLS depends on has changed, later requests get a new connection pool; open streams keep
    theirs.

    Args:
        credentials: Where the API server is, and who one is to it.
        user_agent: What stands in the API server's audit log.
    """

    def __init__(self, credentials: Credentials, *, user_agent: str = "lookaside") -> None:
        self._credentials = credentials
        self._user_agent = user_agent
        self._session: _Session | None = None
        self._loading = asyncio.Lock()

    def __repr__(self) -> str:
        host = self._session.api.configuration.host if self._session else "not connected"
        return f"<Client {self._credentials!r} {host}>"

    @property
    def host(self) -> str:
        """The URL of the API server; "" before `prepare`."""
        return str(self._session.api.configuration.host) if self._session else ""

    async def prepare(self) -> None:
        """Read the credentials for the first time.

        Raises:
            ConfigError: They can't be read.
        """
        await self._current()

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.api.close()

    @asynccontextmanager
    async def open(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str = "application/json",
        connect_timeout: float,
        read_timeout: float,
    ) -> AsyncIterator[Stream]:
        """Send a GET and enter with the body of a good answer; see `Opener.open`."""
        timeouts = _timeouts(connect_timeout, read_timeout)
        async with self._answer(
            "GET", path, query, accept=accept, body=None, timeouts=timeouts
        ) as stream:
            yield stream

    async def post(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        limit: int,
        connect_timeout: float,
        read_timeout: float,
    ) -> bytes:
        """Send a POST and return the body of a good answer.

        Args:
            path: The path, from the root.
            body: What is sent, as JSON.
            limit: The longest answer that is accepted, in bytes.
            connect_timeout: How long a connection may take, in seconds.
            read_timeout: How long the server may be silent, in seconds.

        Raises:
            Oversized: The answer is longer.
            KubernetesError: Another of its kinds, as of `Opener.open`.
        """
        timeouts = _timeouts(connect_timeout, read_timeout)
        async with self._answer("POST", path, {}, body=body, timeouts=timeouts) as stream:
            return await stream.read(limit)

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str = "application/json",
        body: Mapping[str, object] | None,
        timeouts: aiohttp.ClientTimeout,
    ) -> AsyncIterator[Stream]:
        try:
            session = await self._current()
        except ConfigError as error:
            raise Unreachable(str(error)) from error
        session.requests += 1
        try:
            response = await self._send(
                session, method, path, query, accept=accept, body=body, timeouts=timeouts
            )
            try:
                yield _Body(response)
            finally:
                response.close()
        finally:
            session.requests -= 1
            if session.retired and not session.requests:
                await session.api.close()

    async def _send(
        self,
        session: _Session,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str = "application/json",
        body: Mapping[str, object] | None,
        timeouts: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        with _translated():
            _, url, headers, _, _ = await session.api.param_serialize(
                method,
                path,
                query_params=list(query.items()),
                header_params={"Accept": accept},
                auth_settings=["BearerToken"],
            )
            answer = await session.api.call_api(
                method, url, headers, body, _request_timeout=timeouts
            )
        response: aiohttp.ClientResponse = answer.response
        if response.status in (200, 201):
            return response
        try:
            with contextlib.suppress(KubernetesError):
                said = b""
                said = await _Body(response).read(_STATUS_LIMIT)
            retry_after = response.headers.get("Retry-After", "")
        finally:
            response.close()
        if response.status == 401:
            self._credentials.forget()
        seconds = float(retry_after) if retry_after.isdecimal() else 0.0
        raise decode_status(said, response.status, seconds)

    async def _current(self) -> _Session:
        """Return a session with the credentials of this moment."""
        async with self._loading:
            try:
                async with asyncio.timeout(_CREDENTIALS_TIMEOUT):
                    configuration = await self._credentials.load()
                fingerprint = _fingerprint(configuration)
            except OSError as error:
                raise ConfigError(f"credentials can't be read: {_said(error)}") from error
            old = self._session
            if old is not None and old.fingerprint == fingerprint:
                old.api.configuration.api_key = configuration.api_key
                return old
            try:
                self._session = _Session(configuration, fingerprint, self._user_agent)
            except OSError as error:
                raise ConfigError(f"TLS can't be set up: {error}") from error
            if old is not None:
                old.retired = True
                if not old.requests:
                    await old.api.close()
            return self._session


def _timeouts(connect: float, read: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read)


def _fingerprint(configuration: Configuration) -> bytes:
    """Hash all that a connection depends on, files by their content."""
    settings = (
        configuration.host,
        configuration.verify_ssl,
        configuration.tls_server_name,
        configuration.proxy,
    )
    digest = hashlib.sha256(repr(settings).encode())
    for name in (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file):
        digest.update(b"\0" + (Path(name).read_bytes() if name else b""))
    return digest.digest()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise own errors in the place of aiohttp's."""
    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, ssl.SSLError) as error:
        raise Unreachable(f"the API server can't be reached: {_said(error)}") from error
    except TimeoutError as error:
        raise Silent("the API server is silent") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Broken(f"the connection to the API server broke: {_said(error)}") from error


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
