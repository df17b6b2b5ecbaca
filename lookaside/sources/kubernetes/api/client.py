"""The connection to the API server, by aiohttp, whose errors end here."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Protocol

import aiohttp
import msgspec
from yarl import URL

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api.connection import Connection, ssl_context
from lookaside.sources.kubernetes.api.credentials import Credentials
from lookaside.sources.kubernetes.api.decode import decode_status
from lookaside.sources.kubernetes.api.errors import (
    ConnectionBroken,
    KubernetesError,
    ReadTimeout,
    ResponseTooLarge,
    Unreachable,
)

_STATUS_LIMIT = 65_536
# As Go's http.Transport: what stands between may add a lot.
_HEADER_LIMIT = 10 * 2**20
_BUFFER = 2**21


class Stream(Protocol):
    """The body of an answer."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield what comes, as it comes.

        Raises:
            ReadTimeout: Nothing came within the read timeout.
            ConnectionBroken: The connection ended in the middle.
        """

    async def read(self, limit: int) -> bytearray:
        """Return the whole of it.

        Args:
            limit: The longest that is accepted, in bytes.

        Raises:
            ResponseTooLarge: It is longer.
            ReadTimeout: Nothing came within the read timeout.
            ConnectionBroken: The connection ended in the middle.
        """

    def close(self) -> None:
        """End it now; a reader gets `ConnectionBroken`, or the end."""


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
            ReadTimeout: No answer came within the read timeout.
            ConnectionBroken: The connection ended before the answer.
        """


class _Body:
    """A `Stream` of aiohttp."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            with _translated(ConnectionBroken):
                chunk = await self._response.content.readany()
            if not chunk:
                return
            yield chunk

    async def read(self, limit: int) -> bytearray:
        # It grows where it stands: to join a hundred megabytes takes too long in one go.
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise ResponseTooLarge(f"an answer is longer than {limit} bytes")
        return body

    def close(self) -> None:
        self._response.close()


class _Session:
    """A pool of TCP connections, and what they depend on."""

    def __init__(self, connection: Connection, user_agent: str) -> None:
        secure = connection.server.startswith("https:")
        proxy = URL(connection.proxy)
        self.connection = connection
        self.http = aiohttp.ClientSession(
            # A watch holds its connection for good: a bound would be one on what is watched.
            connector=aiohttp.TCPConnector(
                limit=0, ssl=ssl_context(connection.tls) if secure else True
            ),
            headers={"User-Agent": user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxy.with_user(None) if connection.proxy else None,
            read_bufsize=_BUFFER,
            max_line_size=_HEADER_LIMIT,
            max_field_size=_HEADER_LIMIT,
        )
        self.proxy_headers: Mapping[str, str] | None = None
        if proxy.user is not None:
            pair = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
            self.proxy_headers = {"Proxy-Authorization": pair}
        self.requests = 0
        self.retired = False


class Client:
    """An `Opener` for one API server, which can be posted to as well.

    Built and closed inside a running event loop. Credentials are read again for each request. When
    what TLS depends on has changed, later requests get a new connection pool; open streams keep
    theirs.

    Args:
        credentials: Where the API server is, and who one is to it.
        user_agent: The name in the API server's audit log.
    """

    def __init__(self, credentials: Credentials, *, user_agent: str = "lookaside") -> None:
        self._credentials = credentials
        self._user_agent = user_agent
        self._session: _Session | None = None
        self._loading = asyncio.Lock()
        self._failure: tuple[float, str] | None = None

    def __repr__(self) -> str:
        return f"<Client {self._credentials!r} {self.host or 'not connected'}>"

    @property
    def host(self) -> str:
        """The URL of the API server; "" before `prepare`."""
        return self._session.connection.server if self._session else ""

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
            await session.http.close()

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
            ResponseTooLarge: The answer is longer.
            KubernetesError: Another of its kinds, as of `Opener.open`.
        """
        timeouts = _timeouts(connect_timeout, read_timeout)
        async with self._answer("POST", path, {}, body=body, timeouts=timeouts) as stream:
            return bytes(await stream.read(limit))

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
            session, connection = await self._current()
        except ConfigError as error:
            raise Unreachable(str(error)) from error
        session.requests += 1
        try:
            response = await self._send(
                session,
                connection,
                method,
                path,
                query,
                accept=accept,
                body=body,
                timeouts=timeouts,
            )
            try:
                yield _Body(response)
            finally:
                response.close()
        finally:
            session.requests -= 1
            if session.retired and not session.requests:
                await session.http.close()

    async def _send(
        self,
        session: _Session,
        connection: Connection,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str,
        body: Mapping[str, object] | None,
        timeouts: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = [("Accept", accept), *connection.headers]
        if not connection.compression:
            headers.append(("Accept-Encoding", "identity"))
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        with _translated(Unreachable):
            response = await session.http.request(
                method,
                URL(connection.server + path).with_query(query),
                headers=headers,
                data=None if body is None else msgspec.json.encode(body),
                timeout=timeouts,
                server_hostname=connection.tls.server_name or None,
                proxy_headers=session.proxy_headers,
            )
        if response.status in (200, 201):
            return response
        try:
            with contextlib.suppress(KubernetesError):
                said = b""
                said = bytes(await _Body(response).read(_STATUS_LIMIT))
            retry_after = response.headers.get("Retry-After", "")
        finally:
            response.close()
        if response.status == 401:
            self._credentials.forget(connection)
        seconds = float(retry_after) if retry_after.isdecimal() else 0.0
        raise decode_status(said, response.status, seconds)

    async def _current(self) -> tuple[_Session, Connection]:
        """Return the credentials of this moment, and a session for them."""
        since = time.monotonic()
        async with self._loading:
            # Those who have waited for a load that failed don't each run a plugin that hangs.
            if self._failure is not None and self._failure[0] >= since:
                raise ConfigError(self._failure[1])
            try:
                connection = await self._credentials.load()
                session = self._session
                if session is None or not session.connection.shares_pool(connection):
                    session = _Session(connection, self._user_agent)
            except ConfigError as error:
                self._failure = (time.monotonic(), str(error))
                raise
            old, self._session = self._session, session
            if old is not None and old is not session:
                old.retired = True
                if not old.requests:
                    await old.http.close()
            return session, connection


def _timeouts(connect: float, read: float) -> aiohttp.ClientTimeout:
    # Without `connect`, names would be resolved for however long that takes.
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=read)


@contextmanager
def _translated(otherwise: type[KubernetesError]) -> Iterator[None]:
    """Translate what a request may raise to errors of this package.

    Args:
        otherwise: What an error becomes that is none of aiohttp's: of a host name that can't be
            encoded, say, ValueError comes through.
    """
    try:
        yield
    except (
        aiohttp.ConnectionTimeoutError,
        aiohttp.ClientConnectorError,
        aiohttp.InvalidURL,
        ssl.SSLError,
    ) as error:
        raise Unreachable(f"the API server can't be reached: {_said(error)}") from error
    except TimeoutError as error:
        raise ReadTimeout("the API server is silent") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionBroken(f"the connection to the API server broke: {_said(error)}") from error
    except Exception as error:
        raise otherwise(f"a request to the API server failed: {_said(error)}") from error


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
