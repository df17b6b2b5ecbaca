"""An API server on loopback that lists, watches, and misbehaves on command."""

import asyncio
import json
import re
import ssl
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from client_resolver.testing.server import reserve_port

SLICES = "endpointslices"
SERVICES = "services"
PODS = "pods"
KINDS = {SLICES: "EndpointSlice", SERVICES: "Service", PODS: "Pod"}
GROUPS = {SLICES: "discovery.k8s.io/v1", SERVICES: "v1", PODS: "v1"}

Json = dict[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class Request:
    """A request as it came.

    Attributes:
        resource: The plural of the resource.
        verb: "list", "watch", or "stream" for a list that is streamed.
        query: The query.
        token: The bearer token, or "".
    """

    resource: str
    verb: str
    query: dict[str, str]
    token: str
    http: web.Request

    @property
    def accept(self) -> str:
        return self.http.headers["Accept"]

    @property
    def metadata_only(self) -> bool:
        return "as=PartialObjectMetadata" in self.accept

    def selects(self, stored: Json) -> bool:
        """Whether an object is asked for; of selectors, NAME=VALUE is known."""
        selector = self.query.get("labelSelector", "")
        labels = stored["metadata"].get("labels") or {}
        namespace = self.http.match_info.get("namespace")
        name, _, value = selector.partition("=")
        return namespace in (None, stored["metadata"]["namespace"]) and (
            not selector or labels.get(name) == value
        )

    def shown(self, stored: Json) -> Json:
        """Return an object as it is asked for."""
        if not self.metadata_only:
            return stored
        kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        return {**kind, "metadata": stored["metadata"]}


Fault = Callable[[Request], Awaitable[web.StreamResponse | None]]


class Plan:
    """What to do to the next requests of a kind in the place of answering them."""

    def __init__(self) -> None:
        self._next: deque[Fault] = deque()
        self._always: Fault | None = None

    def once(self, fault: Fault, *, times: int = 1) -> None:
        """Do it to the next requests."""
        self._next.extend([fault] * times)

    def always(self, fault: Fault | None) -> None:
        """Do it to every request after those; None: no more."""
        self._always = fault

    def take(self) -> Fault | None:
        return self._next.popleft() if self._next else self._always


class Watcher:
    """An open watch."""

    def __init__(self, server: "ApiServer", request: Request) -> None:
        self.server = server
        self.request = request
        self.resource = request.resource
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.frozen = False
        self.aborted = False

    def send(self, data: bytes) -> None:
        if not self.frozen:
            self.queue.put_nowait(data)

    def tell(self, kind: str, stored: Json) -> None:
        if self.request.selects(stored):
            self.send(line(kind, self.request.shown(stored)))

    def end(self) -> None:
        """Close in good order."""
        self.queue.put_nowait(None)

    def abort(self) -> None:
        """Break the connection after what was sent."""
        self.aborted = True
        self.queue.put_nowait(None)


@dataclass
class Collection:
    """The objects of a resource and the events that can still be replayed."""

    objects: dict[Key, Json] = field(default_factory=dict)
    events: list[tuple[int, str, Json]] = field(default_factory=list)
    oldest: int = 0


class ApiServer:
    """The server. Its resource versions start high, so that there is somewhere to go back to.

    Attributes:
        requests: Every request so far.
        lists: What to do to lists, paged and streamed, by resource.
        watches: What to do to watches that resume at a position, by resource.
        streams_lists: Whether lists can be streamed.
        ends_lists: Whether a streamed list tells its end; servers that don't know
            `sendInitialEvents` send a watch like any other.
        tokens: The bearer tokens that are accepted; None: no one is asked.
        gone_by_status: A lost position is told by the HTTP status, not in the stream.
        tokens_expire: The tokens of pages expire at once.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.version = 1000
        self.requests: list[Request] = []
        self.lists: defaultdict[str, Plan] = defaultdict(Plan)
        self.watches: defaultdict[str, Plan] = defaultdict(Plan)
        self.streams_lists = True
        self.ends_lists = True
        self.tokens: set[str] | None = None
        self.gone_by_status = False
        self.tokens_expire = False
        self.watchers: list[Watcher] = []
        self.port = 0
        self.tls = tls
        self._collections = {resource: Collection() for resource in KINDS}
        self._pages: dict[str, tuple[int, list[Json]]] = {}
        self._runner: web.AppRunner | None = None
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        for root in ("/api/v1", "/apis/discovery.k8s.io/v1"):
            app.router.add_get(f"{root}/{{resource}}", self._get)
            app.router.add_get(f"{root}/namespaces/{{namespace}}/{{resource}}", self._get)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        self.port = self.port or reserve_port(self)
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self.tls, reuse_address=True
        )
        await site.start()

    async def stop(self) -> None:
        """Close every connection and refuse new ones."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def put(self, resource: str, *objects: Json) -> int:
        """Create or update objects, and tell the watchers."""
        collection = self._collections[resource]
        for each in objects:
            self.version += 1
            meta = {
                "namespace": "default",
                **each["metadata"],
                "resourceVersion": str(self.version),
            }
            stored = {**each, "metadata": meta}
            key = (meta["namespace"], meta["name"])
            kind = "MODIFIED" if key in collection.objects else "ADDED"
            collection.objects[key] = stored
            self._tell(resource, kind, stored)
        return self.version

    def delete(self, resource: str, name: str, namespace: str = "default") -> int:
        self.version += 1
        gone = self._collections[resource].objects.pop((namespace, name))
        meta = {**gone["metadata"], "resourceVersion": str(self.version)}
        self._tell(resource, "DELETED", {**gone, "metadata": meta})
        return self.version

    def forget(self, resource: str) -> None:
        """Lose every object without a word to the watchers."""
        self._collections[resource].objects.clear()

    def bookmark(self, resource: str | None = None) -> None:
        """Send a bookmark to the open watches of a resource, or of all."""
        for watcher in self.open_watches(resource):
            watcher.send(line("BOOKMARK", self._bookmark(watcher.resource)))

    def compact(self, resource: str | None = None) -> None:
        """Lose every event so far: a watch from before is told 410."""
        self.version += 1
        for name, collection in self._collections.items():
            if resource in (None, name):
                collection.events.clear()
                collection.oldest = self.version

    def restore(self, version: int) -> None:
        """Go back to an older version, as etcd from a backup, with the objects as they are."""
        self.version = version
        for collection in self._collections.values():
            collection.events.clear()
            collection.oldest = 0
            for stored in collection.objects.values():
                stored["metadata"]["resourceVersion"] = str(version)

    def open_watches(self, resource: str | None = None) -> list[Watcher]:
        return [watcher for watcher in self.watchers if resource in (None, watcher.resource)]

    def send_raw(self, resource: str, data: bytes) -> None:
        for watcher in self.open_watches(resource):
            watcher.send(data)

    def send_error(self, resource: str, status: Json) -> None:
        self.send_raw(resource, line("ERROR", status))

    def count(self, *verbs: str, resource: str | None = None) -> int:
        """Count the requests so far."""
        return sum(
            request.verb in verbs and resource in (None, request.resource)
            for request in self.requests
        )

    async def until(self, condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
        """Wait for something that depends on requests and open watches."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(condition)

    async def watched(self, *resources: str) -> None:
        """Wait for an open watch of each resource; Pods are not watched in general."""
        resources = resources or (SLICES, SERVICES)
        await self.until(lambda: all(self.open_watches(resource) for resource in resources))

    def _tell(self, resource: str, kind: str, stored: Json) -> None:
        self._collections[resource].events.append((self.version, kind, stored))
        for watcher in self.open_watches(resource):
            watcher.tell(kind, stored)

    def _bookmark(self, resource: str, *, initial_end: bool = False) -> Json:
        meta: Json = {"resourceVersion": str(self.version), "creationTimestamp": None}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        return {"kind": KINDS[resource], "apiVersion": GROUPS[resource], "metadata": meta}

    async def _announce(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _get(self, http: web.Request) -> web.StreamResponse:
        resource = http.match_info["resource"]
        query = dict(http.query)
        verb = "list"
        if query.get("watch") == "true":
            verb = "stream" if query.get("sendInitialEvents") == "true" else "watch"
        _, _, token = http.headers.get("Authorization", "").partition(" ")
        request = Request(resource, verb, query, token, http)
        self.requests.append(request)
        await self._announce()
        if self.tokens is not None and token not in self.tokens:
            return refusal(401, "Unauthorized")
        plans = self.watches if verb == "watch" else self.lists
        fault = plans[resource].take()
        if fault is not None and (answer := await fault(request)) is not None:
            return answer
        if verb == "list":
            return self._list(request)
        if verb == "stream" and not self.streams_lists:
            return refusal(422, "sendInitialEvents: Forbidden: sendInitialEvents is forbidden")
        return await self._watch(request)

    def _objects(self, request: Request) -> list[Json]:
        objects = self._collections[request.resource].objects
        return [each for _, each in sorted(objects.items()) if request.selects(each)]

    def _list(self, request: Request) -> web.Response:
        limit = int(request.query.get("limit", "0")) or 1_000_000
        token = request.query.get("continue")
        version, rest = self.version, self._objects(request)
        if token is not None:
            if self.tokens_expire:
                return refusal(410, "The provided continue parameter is too old")
            version, rest = self._pages[token]
        meta: Json = {"resourceVersion": str(version)}
        page, rest = rest[:limit], rest[limit:]
        if rest:
            token = meta["continue"] = f"{version}-{len(self._pages)}"
            self._pages[token] = (version, rest)
        kind = "PartialObjectMetadata" if request.metadata_only else KINDS[request.resource]
        items = [request.shown(each) for each in page]
        body = encode({"kind": f"{kind}List", "metadata": meta, "items": items})
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, request: Request) -> web.StreamResponse:
        collection = self._collections[request.resource]
        since = int(request.query.get("resourceVersion") or 0)
        if request.verb == "watch" and since < collection.oldest and self.gone_by_status:
            return refusal(410, "too old resource version")
        response = await opened(request)
        watcher = Watcher(self, request)
        if request.verb == "stream":
            for each in self._objects(request):
                watcher.tell("ADDED", each)
            end = self._bookmark(request.resource, initial_end=self.ends_lists)
            watcher.send(line("BOOKMARK", end))
        elif since < collection.oldest:
            watcher.send(line("ERROR", status(410, "too old resource version")))
            watcher.end()
        else:
            for version, kind, stored in collection.events:
                if version > since:
                    watcher.tell(kind, stored)
        self.watchers.append(watcher)
        await self._announce()
        try:
            while (news := await watcher.queue.get()) is not None:
                await response.write(news)
            if watcher.aborted and request.http.transport is not None:
                request.http.transport.abort()
        finally:
            self.watchers.remove(watcher)
            await asyncio.shield(self._announce())
        return response


def nested(levels: int) -> str:
    """Stand for a value that is nested deeper than `json` can write: the fields of a writer."""
    return f"nested {levels}"


def encode(value: Json) -> bytes:
    """Write JSON, with what `nested` stands for."""

    def written(found: re.Match[bytes]) -> bytes:
        levels = int(found[1])
        return b'{"f:a":' * levels + b"{}" + b"}" * levels

    return re.sub(rb'"nested (\d+)"', written, json.dumps(value).encode())


def line(kind: str, stored: Json) -> bytes:
    """Make a line of a watch."""
    return encode({"type": kind, "object": stored}) + b"\n"


def status(code: int, message: str = "", **more: Any) -> Json:
    """Make a Status."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "code": code,
        **more,
    }


def refusal(code: int, message: str = "", headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(status(code, message), status=code, headers=headers)


async def opened(request: Request) -> web.StreamResponse:
    """Begin a stream."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request.http)
    return response


def refuse(code: int, message: str = "", headers: dict[str, str] | None = None) -> Fault:
    """Answer with an HTTP status and a Status."""

    async def fault(request: Request) -> web.StreamResponse:
        return refusal(code, message, headers)

    return fault


def answer(body: Json | bytes) -> Fault:
    """Answer 200 with any body."""

    async def fault(request: Request) -> web.StreamResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=data, content_type="application/json")

    return fault


async def hang(request: Request) -> web.StreamResponse:
    """Say nothing."""
    await asyncio.Event().wait()
    raise AssertionError


async def end_at_once(request: Request) -> web.StreamResponse:
    """Open a watch and close it in good order."""
    return await opened(request)


def slice_json(
    name: str,
    *addresses: str,
    service: str | None = "greeter",
    port: int = 50051,
    **more: Any,
) -> Json:
    """Make an EndpointSlice with ready endpoints."""
    labels = {"kubernetes.io/service-name": service} if service else {"other": "label"}
    return {
        "metadata": {"name": name, "labels": labels, "managedFields": [{"manager": "test"}]},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}} for address in addresses
        ],
        "ports": [{"name": "grpc", "port": port, "protocol": "TCP"}],
        **more,
    }


def pod_json(name: str, labels: dict[str, str] | None = None, **annotations: str) -> Json:
    """Make a Pod, with annotations under lookaside.dev/ and one as kubectl leaves it."""
    notes = {f"lookaside.dev/{key}": text for key, text in annotations.items()}
    last = {"kubectl.kubernetes.io/last-applied-configuration": "{}" * 100}
    meta = {"name": name, "uid": f"uid-{name}", "labels": labels, "annotations": last | notes}
    return {"metadata": meta, "spec": {"containers": [{"name": "greeter"}]}, "status": {}}


def with_pods(stored: Json, *names: str) -> Json:
    """Let the endpoints of a slice be Pods."""
    for endpoint, name in zip(stored["endpoints"], names, strict=True):
        endpoint["targetRef"] = {"kind": "Pod", "name": name, "uid": f"uid-{name}"}
    return stored


def annotated(stored: Json, **annotations: str) -> Json:
    """Give an object annotations under lookaside.dev/, with _ for -."""
    notes = {f"lookaside.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return {**stored, "metadata": {**stored["metadata"], "annotations": notes}}


def service_json(name: str = "greeter", **spec: Any) -> Json:
    """Make a Service."""
    ports = [{"name": "grpc", "port": 80, "targetPort": "grpc", "protocol": "TCP"}]
    return {"metadata": {"name": name}, "spec": {"type": "ClusterIP", "ports": ports, **spec}}
