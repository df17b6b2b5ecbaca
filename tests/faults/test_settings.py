"""The settings, as the service hands them to its source."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from lookaside.app import App
from lookaside.config import Settings
from lookaside.config.values import Listen, SourceSetting
from tests.faults.apiserver import (
    PODS,
    SERVICES,
    SLICES,
    annotated,
    pod_json,
    service_json,
    slice_json,
    with_pods,
)
from tests.faults.conftest import World


@asynccontextmanager
async def serving(world: World, **settings: Any) -> AsyncIterator[App]:
    """Serve what the API server has."""
    given = {"admin": None, "grace": 0.0, **settings}
    app = App(
        Settings(
            sources=(SourceSetting("kubernetes"),),
            kubeconfig=Path(world.kubeconfig()),
            listen=Listen("127.0.0.1", 0),
            **given,
        )
    )
    stop = asyncio.Event()
    async with app:
        running = asyncio.create_task(app.run(stop))
        try:
            watched = [SLICES, SERVICES, *([PODS] if settings.get("pods") else [])]
            await world.server.watched(*watched)
            yield app
        finally:
            stop.set()
            await running


@asynccontextmanager
async def watching(
    world: World, **settings: Any
) -> AsyncIterator[grpc.aio.UnaryStreamCall[pb.WatchServersRequest, pb.WatchServersResponse]]:
    """Serve what the API server has, and watch the greeter."""
    async with (
        serving(world, **settings) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}") as channel,
    ):
        request = pb.WatchServersRequest(service_name="greeter")
        call: grpc.aio.UnaryStreamCall[pb.WatchServersRequest, pb.WatchServersResponse]
        call = LoadBalancerStub(channel).WatchServers(request)
        yield call
        call.cancel()


async def read(
    call: grpc.aio.UnaryStreamCall[pb.WatchServersRequest, pb.WatchServersResponse],
) -> list[pb.Server]:
    async with asyncio.timeout(30.0):
        message = await call.read()
    assert isinstance(message, pb.WatchServersResponse)
    return list(message.servers)


async def test_pods_give_weights_and_labels(world: World) -> None:
    world.server.put(SLICES, with_pods(slice_json("greeter-1", "10.0.0.1"), "one"))
    labels = {"version": "v2", "app": "greeter"}
    world.server.put(PODS, pod_json("one", labels, weight="7"))
    async with watching(
        world, pods=True, pod_selector="app=greeter", metadata_labels=("version",)
    ) as call:
        [server] = await read(call)
        assert server.weight == 7
        assert dict(server.metadata) == {"pod": "one", "version": "v2"}
        world.server.put(PODS, pod_json("one", labels | {"version": "v3"}, weight="8"))
        [server] = await read(call)
        assert (server.weight, server.metadata["version"]) == (8, "v3")
    selectors = {each.query.get("labelSelector") for each in world.server.requests}
    assert selectors == {None, "app=greeter"}


async def test_the_address_family_is_chosen(world: World) -> None:
    four = with_pods(slice_json("greeter-1", "10.0.0.1"), "one")
    six = with_pods(slice_json("greeter-6", "fd00::1", addressType="IPv6"), "one")
    world.server.put(SLICES, four, six)
    async with watching(world, address_family="IPv6") as call:
        assert [server.address for server in await read(call)] == ["[fd00::1]:50051"]


async def test_changes_are_gathered(world: World) -> None:
    async with watching(world, debounce=0.3) as call:
        await read(call)
        for number in range(20):
            world.server.put(SLICES, slice_json("greeter-1", f"10.0.1.{number}"))
        seen = [await read(call)]
        while [server.address for server in seen[-1]] != ["10.0.1.19:50051"]:
            seen.append(await read(call))
        assert len(seen) <= 3


async def test_mass_removals_may_be_believed(world: World) -> None:
    async with watching(world, mass_removal=0) as call:
        await read(call)
        lists = world.server.count("list", "stream", resource=SLICES)
        world.server.forget(SLICES)
        world.server.compact(SLICES)
        for watcher in world.server.open_watches(SLICES):
            watcher.end()
        assert await read(call) == []
        assert world.server.count("list", "stream", resource=SLICES) == lists + 1


async def test_refused_annotations_are_counted(world: World) -> None:
    world.server.put(SERVICES, annotated(service_json(), weights="many"))
    async with (
        serving(world, admin=Listen("127.0.0.1", 0)) as app,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{app.admin_port}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    name = "lookaside_refused_annotations_total"
    assert f'{name}{{annotation="lookaside.dev/weights",kind="Service"}} 1.0' in lines
