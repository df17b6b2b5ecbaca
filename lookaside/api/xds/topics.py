"""What is known of each name that streams ask for, made once for all that ask for the same.

A topic is one name as clients of one kind in one place see it. It watches the store, and each time
that a list has changed, it makes the resources again and wakes its streams, which then compare them
with what they have sent.
"""

import asyncio
from typing import Protocol
from weakref import WeakValueDictionary

import grpc
from msgspec import Struct

from lookaside.api.servicer import CODES
from lookaside.api.worker import LoopWorker
from lookaside.api.xds.kinds import ClientKind
from lookaside.api.xds.resource import UNKNOWN, Absent, Outcome, Type, Unknown
from lookaside.api.xds.resources import Translation, deciding, translating
from lookaside.api.xds.validation import InvalidResource
from lookaside.errors import NotSynced, RequestError, ServiceNotFound
from lookaside.logging import OncePerMinute, get_logger
from lookaside.model import ServiceName, State
from lookaside.policy.topology import Place
from lookaside.policy.view import View
from lookaside.registry.steps import WAKES, Steps, chunks
from lookaside.registry.store import Store

_RETRY = 1.0
"""Seconds until a namespace is looked at again that is not known yet."""

NO_LISTENER = Absent("the client's node says no port to listen on", 5)

_log = get_logger("api.xds")


class Listener(Protocol):
    """A stream, as topics know it."""

    def changed(self, name: str) -> None:
        """What is known under a name may have changed."""


class TopicObserver(Protocol):
    """Receives resources that are not sent, for metrics."""

    def xds_withheld(self, kind: str) -> None:
        """A resource for this kind of client was not sent, since the client might refuse it."""


class Asked(Struct, frozen=True):
    """What a topic is of.

    Attributes:
        name: The name as the client wrote it.
        service: What it means.
        kind: What the client is built of.
        place: Where it runs.
        port: Where an Envoy is to listen; 0: nowhere.
    """

    name: str
    service: ServiceName
    kind: ClientKind
    place: Place
    port: int = 0


class Topics:
    """All topics of one server.

    Args:
        store: What is known.
        worker: Makes resources.
        observer: Receives resources that are not sent, for metrics.
    """

    def __init__(self, store: Store, worker: LoopWorker, observer: TopicObserver) -> None:
        self.store = store
        self.worker = worker
        self.observer = observer
        self.lines = OncePerMinute()
        self.made = WeakValueDictionary[object, Translation]()
        self._topics: dict[Asked, Topic] = {}

    def __len__(self) -> int:
        return len(self._topics)

    def join(self, asked: Asked, listener: Listener) -> "Topic":
        """Have a stream told of changes, and once what is known now can be looked at."""
        topic = self._topics.get(asked)
        if topic is None:
            topic = self._topics[asked] = Topic(asked, self)
        topic.listeners[listener] = None
        return topic

    def leave(self, topic: "Topic", listener: Listener) -> None:
        """Have a stream told no more."""
        del topic.listeners[listener]
        if not topic.listeners:
            del self._topics[topic.asked]
            topic.close()


class Topic:
    """One name, as clients of one kind in one place see it.

    What can't be relied on changes nothing: where a service is missing from the last view of a
    source that was lost, or its namespace is not known yet, the last state stays.

    Args:
        asked: What it is of.
        topics: What all topics share.

    Attributes:
        listeners: The streams that are woken.
    """

    def __init__(self, asked: Asked, topics: Topics) -> None:
        self.asked = asked
        self.listeners: dict[Listener, None] = {}
        self._topics = topics
        self._known: Translation | Absent | Unknown | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._warned = False
        self._view = View(asked.place)
        self._subscription = topics.store.subscribe(
            asked.service, self._wake, view=self._view, reads=False, lasting=True
        )

    def look(self, kind: Type) -> Outcome:
        """Return the resource of a type."""
        if isinstance(self._known, Translation):
            return self._known.resources.get(kind, NO_LISTENER)
        return self._known

    def close(self) -> None:
        """Watch no longer."""
        self._subscription.close()
        if self._retry is not None:
            self._retry.cancel()

    def _wake(self) -> None:
        self._topics.worker.ask(self, self._making)

    def _making(self) -> Steps[None]:
        if not self.listeners:
            return
        try:
            known: Translation | Absent | Unknown = yield from self._present()
        except NotSynced:
            self._retry = asyncio.get_running_loop().call_later(_RETRY, self._wake)
            known = self._known or UNKNOWN
        except RequestError as error:
            known = Absent(str(error), _number(error))
        except InvalidResource as error:
            self._topics.observer.xds_withheld(self.asked.kind)
            if self._topics.lines.allows(("withheld", self.asked)):
                _log.error(
                    "a resource is not sent, since clients might refuse it: the one before stays",
                    service=self.asked.name,
                    client=self.asked.kind,
                    error=str(error),
                )
            known = self._known or Absent(str(error), grpc.StatusCode.INTERNAL.value[0])
        if known == self._known:
            return
        self._known = known
        for some in chunks(list(self.listeners), WAKES):
            for listener in some:
                if listener in self.listeners:
                    listener.changed(self.asked.name)
            yield len(some)

    def _present(self) -> Steps[Translation | Absent | Unknown]:
        asked, made = self.asked, self._topics.made
        snapshot = yield from self._topics.store.presenting(asked.service, self._view)
        if snapshot.state is State.ABSENT:
            error = ServiceNotFound(f"service {asked.service.key} is not known")
            return Absent(str(error), _number(error))
        if not snapshot.source:
            return self._known or UNKNOWN
        place = deciding(snapshot, asked.place)
        key = asked.name, asked.kind, place, asked.port, snapshot.revision.digest
        translation = made.get(key)
        if translation is None:
            translation = yield from translating(
                asked.name, snapshot, asked.kind, place, port=asked.port
            )
            translation = made.setdefault(key, translation)
        if translation.unlisted and not self._warned:
            self._warned = True
            _log.warning(
                "xDS takes IP addresses alone: endpoints with host names are left out",
                service=asked.name,
                endpoints=translation.unlisted,
            )
        return translation


def _number(error: RequestError) -> int:
    code: int = CODES[type(error)].value[0]
    return code
