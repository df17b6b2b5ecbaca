"""What kube-proxy does, for some Services: their cluster IPs lead to their ready Pods."""

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

from tests.cluster import network
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import SERVICE_NAME

_CHUNK: Final = 1 << 16


class ClusterIp:
    """A Service's cluster IP, on `lo`, as a context manager.

    A new connection goes to the next ready endpoint of the Service's slices. One that is open
    stays where it is, whatever becomes of the endpoint, as with kube-proxy.

    Args:
        control_plane: The cluster.
        namespace: The Service's namespace.
        service: The Service's name.

    Attributes:
        address: HOST:PORT of its first port.
        host: The cluster IP.
    """

    def __init__(self, control_plane: ControlPlane, namespace: str, service: str) -> None:
        self._api = control_plane.admin
        spec = self._api.get(f"/api/v1/namespaces/{namespace}/services/{service}")["spec"]
        self.host: str = spec["clusterIP"]
        self._ports = {port.get("name", ""): int(port["port"]) for port in spec["ports"]}
        self.address = f"{self.host}:{next(iter(self._ports.values()))}"
        self._slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._selector = f"{SERVICE_NAME}={service}"
        self._turn = itertools.count()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {service}")

    def __enter__(self) -> Self:
        network.add_address(self.host)
        self._thread.start()
        self._run(self._listen()).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        network.remove_address(self.host)

    def _run(self, work: Coroutine[object, object, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _listen(self) -> None:
        for name, port in self._ports.items():
            serve = partial(self._serve, name)
            self._servers.append(await asyncio.start_server(serve, self.host, port))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        own = asyncio.current_task()
        open_ = [task for task in asyncio.all_tasks() if task is not own]
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)

    async def _serve(
        self, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            ready = await asyncio.to_thread(lambda: sorted(self._ready(port)))
            if not ready:
                return
            host, number = ready[next(self._turn) % len(ready)]
            with suppress(OSError):
                onward, out = await asyncio.open_connection(host, number)
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(reader, out))
                    both.create_task(_pump(onward, writer))
        finally:
            writer.close()

    def _ready(self, port: str) -> Iterator[tuple[str, int]]:
        for each in self._api.get(self._slices, labelSelector=self._selector)["items"]:
            numbers = [given["port"] for given in each["ports"] if given.get("name", "") == port]
            for endpoint in each["endpoints"] or []:
                if endpoint["conditions"].get("ready"):
                    yield from ((endpoint["addresses"][0], number) for number in numbers)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, until it ends."""
    try:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                writer.write(chunk)
                await writer.drain()
    except asyncio.CancelledError:
        # The loop is about to be closed: it would leave a socket that has something to write.
        writer.transport.abort()
        raise
    writer.close()
