"""One ADS stream without its I/O: requests in as bytes, responses out as bytes."""

from collections.abc import Callable
from typing import Protocol

from lookaside._pb.xds import discovery_pb2 as pb
from lookaside.api.authorization import Grant
from lookaside.api.calls import NameBounds, parsed
from lookaside.api.servicer import CODES
from lookaside.api.worker import LoopWorker
from lookaside.api.xds.kinds import Client, client
from lookaside.api.xds.resource import TYPES, Absent, Outcome, Type
from lookaside.api.xds.session import Ask, Change, Delta, Session, StateOfTheWorld
from lookaside.api.xds.topics import Asked, Topic, TopicObserver, Topics
from lookaside.errors import RequestError, TooManyNames, quoted, shortened
from lookaside.logging import get_logger
from lookaside.model import ServiceName
from lookaside.registry.steps import Steps
from lookaside.registry.store import Store

_AT_ONCE = 50
"""Names that one step adds."""

_SHOWN = 20
"""Names that a log line has at most."""

_log = get_logger("api.xds")


class StreamObserver(TopicObserver, Protocol):
    """What streams tell of themselves, for metrics."""

    def xds_refused(self, kind: str, resource: str) -> None:
        """A client of this kind refused resources of this type."""


class Streams:
    """Opens streams over one store.

    Args:
        store: What is known.
        worker: Makes resources.
        observer: Receives what is refused and withheld, for metrics.
        parse: Reads a service name as the client wrote it.
        bounds: How many names may be asked for.
    """

    def __init__(
        self,
        store: Store,
        worker: LoopWorker,
        observer: StreamObserver,
        *,
        parse: Callable[[str], ServiceName],
        bounds: NameBounds,
    ) -> None:
        self._topics = Topics(store, worker, observer)
        self._names = Names(bounds)
        self._observer = observer
        self._parse = parse

    def open(self, host: str, grant: Grant, wake: Callable[[], None], *, delta: bool) -> "Stream":
        """Open a stream.

        Args:
            host: Where the caller calls from.
            grant: What the caller may ask for.
            wake: Called whenever there may be something to send.
            delta: Whether it is of the delta variant.
        """
        return Stream(
            self._topics,
            self._names,
            self._observer,
            host=host,
            grant=grant,
            parse=self._parse,
            wake=wake,
            delta=delta,
        )


class Names:
    """How many names are asked for, on all streams.

    Args:
        bounds: How many may be.
    """

    def __init__(self, bounds: NameBounds) -> None:
        self._bounds = bounds
        self._count = 0

    def take(self, held: int) -> None:
        """Count a name in, for a stream that has some already.

        Raises:
            TooManyNames: No more are taken.
        """
        if held >= self._bounds.stream:
            raise TooManyNames(f"a stream may ask for {self._bounds.stream} names, and no more")
        if self._count >= self._bounds.total:
            raise TooManyNames(f"{self._count} names are asked for, and no more are taken")
        self._count += 1

    def give(self, number: int) -> None:
        """Count names off."""
        self._count -= number


class Stream:
    """What one client has asked for, as a `lookaside.api.xds.topics.Listener`.

    Args:
        topics: What is known.
        names: How many names are asked for.
        observer: Receives refused resources, for metrics.
        host: Where the caller calls from.
        grant: What the caller may ask for.
        parse: Reads a service name as the client wrote it.
        wake: Called whenever there may be something to send.
        delta: Whether the stream is of the delta variant.
    """

    def __init__(
        self,
        topics: Topics,
        names: Names,
        observer: StreamObserver,
        *,
        host: str,
        grant: Grant,
        parse: Callable[[str], ServiceName],
        wake: Callable[[], None],
        delta: bool,
    ) -> None:
        self._topics = topics
        self._names = names
        self._observer = observer
        self._host = host
        self._grant = grant
        self._parse = parse
        self._wake = wake
        self._delta = delta
        self._client = Client()
        self._session: Session | None = None
        self._joined: dict[str, Topic | Absent] = {}

    def receiving(self, raw: bytes) -> Steps[None]:
        """Accept a request.

        Raises:
            RequestError: It can't be read, or asks for more than is taken.
        """
        request: pb.DeltaDiscoveryRequest | pb.DiscoveryRequest
        if self._delta:
            request = parsed(pb.DeltaDiscoveryRequest, raw)
        else:
            request = parsed(pb.DiscoveryRequest, raw)
        if self._session is None:
            # The first request alone has the node.
            self._client = client(request.node)
            variant = Delta if self._delta else StateOfTheWorld
            self._session = variant(self._client.services)
        kind = TYPES.get(request.type_url)
        if kind is None:
            return
        ask = _ask(kind, request)
        change = self._session.ask(ask)
        if change.refused:
            self._refused(ask, change)
        for number, name in enumerate(change.added):
            self._join(name)
            if number % _AT_ONCE == _AT_ONCE - 1:
                yield 0
        for name in change.removed:
            if not any(name in self._session.wanted(each) for each in Type):
                self._part(name)
        self._wake()

    def next(self) -> bytes | None:
        """Return what is to be sent now; None: nothing."""
        response = self._session.next(self._look) if self._session else None
        if response is None:
            return None
        return response.encode_delta() if self._delta else response.encode()

    def changed(self, name: str) -> None:
        """What is known under a name may have changed."""
        if self._session is not None:
            self._session.mark(name)
            self._wake()

    def close(self) -> None:
        """Ask for nothing any more."""
        for name in list(self._joined):
            self._part(name)

    def _look(self, kind: Type, name: str) -> Outcome:
        found = self._joined.get(name)
        return found.look(kind) if isinstance(found, Topic) else found

    def _join(self, name: str) -> None:
        if name in self._joined:
            return
        self._names.take(len(self._joined))
        try:
            service = self._parse(name)
            self._grant.require(service.key.namespace)
        except RequestError as error:
            code: int = CODES[type(error)].value[0]
            self._joined[name] = Absent(str(error), code)
            # Anyone may ask for anything, again and again.
            if self._topics.lines.allows(("name", self._host)):
                _log.info("a name is refused", client=quoted(self._client.id), error=str(error))
            return
        who = self._client
        asked = Asked(name, service, who.kind, who.place, who.listeners.get(name, 0))
        self._joined[name] = self._topics.join(asked, self)

    def _part(self, name: str) -> None:
        found = self._joined.pop(name)
        self._names.give(1)
        if isinstance(found, Topic):
            self._topics.leave(found, self)

    def _refused(self, ask: Ask, change: Change) -> None:
        self._observer.xds_refused(self._client.kind, ask.kind.name.lower())
        if not self._topics.lines.allows(("resources", self._host, ask.kind)):
            return
        _log.warning(
            "a client refused resources, and goes on with those before",
            client=quoted(self._client.id),
            kind=self._client.kind,
            type=ask.kind.name.lower(),
            services=change.refused[:_SHOWN],
            version=ask.nonce,
            reason=shortened(ask.refusal),
        )


def _ask(kind: Type, request: pb.DiscoveryRequest | pb.DeltaDiscoveryRequest) -> Ask:
    refusal = request.error_detail.message if request.HasField("error_detail") else ""
    if request.HasField("error_detail") and not refusal:
        refusal = "no reason is given"
    if isinstance(request, pb.DiscoveryRequest):
        names = tuple(request.resource_names)
        resumed = bool(request.version_info)
        nonce = request.response_nonce
        return Ask(kind, names, resumed=resumed, nonce=nonce, refusal=refusal)
    return Ask(
        kind,
        tuple(request.resource_names_subscribe),
        tuple(request.resource_names_unsubscribe),
        dict(request.initial_resource_versions),
        nonce=request.response_nonce,
        refusal=refusal,
    )
