import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest_asyncio
import trustme

from lookaside.registry.inputs import MergeOptions
from lookaside.sources import Source
from lookaside.sources.kubernetes import (
    Client,
    Credentials,
    Kubeconfig,
    KubernetesSettings,
    KubernetesSource,
)
from tests.faults.apiserver import PODS, SERVICES, SLICES, ApiServer, service_json, slice_json
from tests.faults.recording import FakeTime, RecordingFeed, RecordingObserver


class World:
    """An API server with one service, and a source that watches it.

    Args:
        server: The API server.
        directory: Where the kubeconfig is written.
        authority: Who signed the server's certificate; None: it serves in plain text.
    """

    def __init__(
        self, server: ApiServer, directory: Path, authority: trustme.CA | None = None
    ) -> None:
        self.server = server
        self.authority = authority
        self.directory = directory
        self.time = FakeTime()
        self.feed = RecordingFeed()
        self.observer = RecordingObserver()
        self.task: asyncio.Task[None] | None = None
        self.source: KubernetesSource | None = None

    def start(
        self,
        *,
        credentials: Credentials | None = None,
        namespaces: Sequence[str] = (),
        options: MergeOptions | None = None,
        **settings: Any,
    ) -> KubernetesSource:
        """Run a source with these settings."""
        self.source = KubernetesSource(
            "cluster",
            self.feed,
            self.observer,
            Client(credentials or Kubeconfig(self.kubeconfig())),
            namespaces=namespaces,
            options=options,
            settings=KubernetesSettings(**{"empty_grace": 0.0, **settings}),
            timing=self.time.timing(),
        )
        self.run(self.source)
        return self.source

    def run(self, source: Source) -> None:
        """Run a source, which `stop` ends."""
        self.task = asyncio.create_task(source.run())

    async def start_synced(self, **settings: Any) -> None:
        """Run a source until it follows all resources."""
        self.start(**settings)
        await self.feed.until(lambda: self.feed.synced)
        await self.server.watched(SLICES, SERVICES, *([PODS] if settings.get("pods") else []))

    async def stop(self) -> None:
        """Cancel the source, which must end."""
        if self.task is None:
            return
        task, self.task = self.task, None
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=20)
        assert done, "the source does not stop"
        assert task.cancelled(), task.exception()

    def kubeconfig(self, **user: str) -> Path:
        path = self.directory / "kubeconfig"
        cluster = {"server": self.server.url}
        if self.authority is not None:
            pem = self.authority.cert_pem.bytes()
            cluster["certificate-authority-data"] = base64.b64encode(pem).decode()
        path.write_text(
            json.dumps(
                {
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": "me", "user": user}],
                }
            )
        )
        return path


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    server.put(SERVICES, service_json())
    server.put(SLICES, slice_json("greeter-1", "10.0.0.1", "10.0.0.2"))
    await server.start()
    yield server
    await server.stop()


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest_asyncio.fixture
async def secure_world(tmp_path: Path) -> AsyncIterator[World]:
    """A world whose server is reached by TLS: in plain text no token is sent."""
    authority = trustme.CA()
    server = ApiServer(tls=server_context(authority))
    server.put(SERVICES, service_json())
    server.put(SLICES, slice_json("greeter-1", "10.0.0.1", "10.0.0.2"))
    await server.start()
    world = World(server, tmp_path, authority)
    yield world
    await world.stop()
    await server.stop()


@pytest_asyncio.fixture
async def world(server: ApiServer, tmp_path: Path) -> AsyncIterator[World]:
    world = World(server, tmp_path)
    yield world
    await world.stop()
