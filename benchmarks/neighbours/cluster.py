"""An API server with one large Service, which is patched all the time, and a small one."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import uvloop
from aiohttp import web

Json = dict[str, Any]

_PER_SLICE = 1_000
_PRESENT = {"ready": True, "serving": True, "terminating": False}


class Cluster:
    """What it has.

    Args:
        slices: How many slices of a thousand endpoints the large Service has.
    """

    def __init__(self, slices: int) -> None:
        self._version = 1_000
        self._made = 0
        self._patched = 0
        self._watches: list[asyncio.Queue[bytes]] = []
        self._slices = [_slice("large", "large", n, self._endpoints()) for n in range(slices)]
        small = _slice("small", "other", 0, [self._endpoint() for _ in range(3)])
        self._objects = {
            "services": [_service("large", "large"), _service("small", "other")],
            "endpointslices": [*self._slices, small],
        }

    def patch(self) -> None:
        """Replace one endpoint of the next slice."""
        one = self._slices[self._patched % len(self._slices)]
        one["endpoints"][self._patched % _PER_SLICE] = self._endpoint()
        self._patched += 1
        self._version += 1
        one["metadata"]["resourceVersion"] = str(self._version)
        line = json.dumps({"type": "MODIFIED", "object": one}).encode() + b"\n"
        for watch in self._watches:
            watch.put_nowait(line)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch."""
        resource = request.match_info["resource"]
        if "sendInitialEvents" in request.query:
            return web.json_response({"kind": "Status", "code": 422}, status=422)
        if request.query.get("watch") != "true":
            start = int(request.query.get("continue", 0))
            end = start + 10
            items = self._objects[resource]
            meta = {"resourceVersion": str(self._version)}
            if end < len(items):
                meta["continue"] = str(end)
            return web.json_response({"metadata": meta, "items": items[start:end]})
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        if resource == "endpointslices":
            self._watches.append(lines)
        while True:
            await response.write(await lines.get())

    def _endpoints(self) -> list[Json]:
        return [self._endpoint() for _ in range(_PER_SLICE)]

    def _endpoint(self) -> Json:
        self._made += 1
        mixed = self._made * 0x9E3779B1 & 0xFFFFFF  # addresses without repetition, in no order
        return {
            "addresses": [f"10.{mixed >> 16}.{mixed >> 8 & 255}.{mixed & 255}"],
            "conditions": _PRESENT,
            "nodeName": f"node-{mixed % 500}",
            "zone": f"eu-1{'abc'[mixed % 3]}",
            "targetRef": {"kind": "Pod", "name": f"pod-{mixed:06x}", "uid": f"uid-{mixed:012x}"},
        }


def _service(name: str, namespace: str) -> Json:
    spec = {"ports": [{"name": "grpc", "port": 80}], "ipFamilies": ["IPv4"]}
    return {"metadata": _meta(name, namespace), "spec": spec}


def _slice(service: str, namespace: str, number: int, endpoints: list[Json]) -> Json:
    meta = _meta(f"{service}-{number}", namespace)
    meta["labels"] = {"kubernetes.io/service-name": service}
    ports = [{"name": "grpc", "port": 50051, "protocol": "TCP"}]
    return {"metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": endpoints}


def _meta(name: str, namespace: str) -> Json:
    return {"name": name, "namespace": namespace, "resourceVersion": "1000"}


async def _serve(slices: int) -> None:
    cluster = Cluster(slices)
    app = web.Application()
    for root in ("/api/v1", "/apis/discovery.k8s.io/v1"):
        app.router.add_get(f"{root}/{{resource}}", cluster.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    patching = asyncio.create_task(asyncio.sleep(0))
    # Each line says how often a second to patch from then on; 0: once.
    while line := await asyncio.to_thread(sys.stdin.readline):
        patching.cancel()
        rate = float(line)
        if rate:
            patching = asyncio.create_task(_patch(cluster.patch, 1 / rate))
        else:
            cluster.patch()


async def _patch(patch: Callable[[], None], interval: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        patch()
        due += interval
        await asyncio.sleep(max(0.0, due - loop.time()))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1])))
