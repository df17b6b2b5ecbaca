"""A source that serves the addresses which a DNS name has."""

import asyncio
import ipaddress
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from lookaside.errors import SourceError
from lookaside.logging import get_logger
from lookaside.model import Endpoint, Health, ServiceKey, ServicePort, ServiceRecord
from lookaside.registry.inputs import Family
from lookaside.sources import Feed, SourceObserver

_REASONS = frozenset({"unknown", "unreachable", "silent", "error"})
_FIRST_PAUSE = 1.0
_TIMEOUT = 10.0


class Unresolved(SourceError):
    """A name has no addresses now, or nobody says which.

    Attributes:
        reason: One of ``unknown`` (there is no such name, or it has no address), ``unreachable``
            (no name server says), ``silent`` (no answer came in time), ``error`` (an answer that
            can't be read).
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


Resolve = Callable[[str, int], Awaitable[Iterable[str]]]
"""Resolves a host name to IP addresses; the second argument is the port that will be dialled.

It raises `Unresolved`.
"""


class DnsSource:
    """Serves one service: each A or AAAA record of a host name is an endpoint.

    The service is named by the host name's first two labels, NAME.NAMESPACE, or by its only one;
    its one port has the number that is dialled. Resolvers don't tell how long an answer holds, so
    it is asked for every `interval` seconds.

    A name that resolves no more changes nothing, whatever the resolver says: the last known list
    stays, the log says why, and after `stale_after` it is marked stale. Until the name has resolved
    for the first time, nothing is served.

    Args:
        name: The source's name.
        host: The host name.
        port: The port of every endpoint.
        feed: Where the service goes.
        observer: Receives each answer, and failures by the reasons of `Unresolved`.
        default_namespace: The namespace of a service whose host name has one label.
        family: Of a name that has addresses of both families, those of this one are served alone:
            they are two addresses of each Pod in general, and nothing tells which are one's.
        interval: Seconds between an answer and the next question. After a failure it is asked again
            sooner.
        stale_after: Seconds that the name may not resolve until its list is stale.
        resolve: How it is resolved; None: as the system does.
        clock: Seconds of a monotonic clock.
        sleep: Sleeps for some seconds.

    Attributes:
        name: The source's name.
        reasons: The words of all that can fail.
        trouble: Why the name did not resolve when it was last asked for; "" if it did.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        feed: Feed,
        observer: SourceObserver,
        *,
        default_namespace: str = "default",
        family: Family = "IPv4",
        interval: float = 30.0,
        stale_after: float = 120.0,
        resolve: Resolve | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.reasons = _REASONS
        self.trouble = ""
        self._host = host
        self._port = port
        self._key = service_of(host, default_namespace)
        self._feed = feed
        self._observer = observer
        self._family = family
        self._interval = interval
        self._stale_after = stale_after
        self._resolve = resolve or resolve_by_system
        self._clock = clock
        self._sleep = sleep
        self._log = get_logger("sources.dns")
        self._addresses: tuple[str, ...] = ()
        self._answered_at = 0.0
        self._failures = 0

    def __repr__(self) -> str:
        state = f"{len(self._addresses)} addresses" if self._addresses else "not resolved yet"
        bad = f", failed {self._failures} times" if self._failures else ""
        return f"<DnsSource {self._host}:{self._port} {state}{bad}>"

    def trouble_in(self, _namespace: str) -> str:
        """Return why what it knows of a namespace can't be confirmed just now; "" where it can."""
        return self.trouble

    async def prepare(self) -> None:
        """Do nothing: a name that does not resolve may do so later."""

    async def run(self) -> None:
        """Feed the store until cancelled."""
        while True:
            at = self._clock()
            try:
                addresses = await self._ask()
            except Unresolved as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 (a resolver may answer anything)
                self._failed(Unresolved(f"{self._host}: {type(error).__name__}: {error}", "error"))
            else:
                self._succeeded(addresses, at)
            await self._sleep(self._pause())

    async def _ask(self) -> tuple[str, ...]:
        """Return the addresses in their canonical form and order, so that replicas agree.

        Raises:
            Unresolved: There are none, or nobody says which.
        """
        try:
            async with asyncio.timeout(_TIMEOUT):
                found = await self._resolve(self._host, self._port)
        except TimeoutError as error:
            raise Unresolved(
                f"{self._host}: no answer within {_TIMEOUT:.0f} seconds", "silent"
            ) from error
        addresses = {str(ipaddress.ip_address(each)) for each in found}
        if not addresses:
            raise Unresolved(f"{self._host}: the name has no address", "unknown")
        preferred = {each for each in addresses if (":" in each) == (self._family == "IPv6")}
        return tuple(sorted(preferred or addresses))

    def _pause(self) -> float:
        if not self._failures:
            return self._interval
        longest = _FIRST_PAUSE * float(2 ** min(self._failures - 1, 10))
        return min(longest, self._interval)

    def _succeeded(self, addresses: tuple[str, ...], at: float) -> None:
        if self._failures:
            self._failures, self.trouble = 0, ""
            self._log.info("the name resolves", host=self._host)
            self._feed.set_stale(False)
        self._answered_at = at
        if addresses != self._addresses:
            self._addresses = addresses
            self._feed.replace([self._record()], version=0, epoch="", at=at)
            self._log.info("resolved", host=self._host, endpoints=len(addresses))
        self._observer.source_contact(self.name)

    def _failed(self, error: Unresolved) -> None:
        self._failures += 1
        if str(error) != self.trouble:
            self.trouble = str(error)
            known = "the last known list stays served" if self._addresses else "nothing to serve"
            self._log.error(known, reason=str(error))
        self._observer.source_error(self.name, error.reason)
        if self._addresses and self._clock() - self._answered_at >= self._stale_after:
            self._feed.set_stale(True)

    def _record(self) -> ServiceRecord:
        endpoints = tuple(
            sorted(
                Endpoint(address, self._port, health=Health.UNSPECIFIED)
                for address in self._addresses
            )
        )
        return ServiceRecord(
            key=self._key, ports=(ServicePort("", self._port),), endpoints={"": endpoints}
        )


def service_of(host: str, default_namespace: str) -> ServiceKey:
    """Return the service that a host name stands for, by its first labels."""
    name, _, rest = host.partition(".")
    return ServiceKey(rest.partition(".")[0] or default_namespace, name)


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Resolve a name as every program on this machine does.

    It is done in a thread of its own, which ends with the process: a resolver that hangs holds
    nobody up.

    Raises:
        Unresolved: There is no such name, or no answer.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(outcome: list[str] | Unresolved) -> None:
        if answer.done():
            return
        if isinstance(outcome, Unresolved):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    def ask() -> None:
        outcome = _system_answer(host, port)
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await answer


def _system_answer(host: str, port: int) -> list[str] | Unresolved:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        unknown = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))
        return Unresolved(
            f"{host}: {error.strerror}".removesuffix("."), "unknown" if unknown else "unreachable"
        )
    except OSError as error:
        return Unresolved(f"{host}: {error.strerror or error}", "unreachable")
    except ValueError as error:  # a label of more than 63 characters, a NUL
        return Unresolved(f"{host}: not a host name: {error}", "unknown")
    return [str(address[0]) for *_, address in found if "%" not in str(address[0])]
