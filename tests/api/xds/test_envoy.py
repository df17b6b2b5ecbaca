"""Envoy, with no configuration but the bootstrap that the command line prints."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
import pytest
import yaml
from click.testing import CliRunner

from lookaside.cli import main
from lookaside.model import ServiceKey
from tests.api.conftest import Balancer, running
from tests.api.xds.test_clients import BOUND, Ports, backends, listed

__all__ = ["backends"]

ENVOY = Path(sys.executable).with_name("envoy")
KEY = ServiceKey("shop", "greeter")
OTHER = ServiceKey("shop", "orders")

variants = pytest.mark.parametrize("variant", ["GRPC", "DELTA_GRPC"])


class Envoy:
    """An Envoy that runs, and what it says of itself."""

    def __init__(self, admin: int, session: aiohttp.ClientSession) -> None:
        self._admin = f"http://127.0.0.1:{admin}"
        self._session = session

    async def get(self, path: str) -> str:
        async with self._session.get(f"{self._admin}{path}") as answer:
            return await answer.text()

    async def clusters(self) -> dict[str, dict[str, int]]:
        """Return the weights of each cluster's endpoints, by their ports."""
        found: dict[str, dict[str, int]] = {}
        for line in (await self.get("/clusters")).splitlines():
            name, *rest = line.split("::")
            cluster = found.setdefault(name, {})
            if len(rest) == 3 and rest[1] == "weight":
                cluster[rest[0].rpartition(":")[2]] = int(rest[2])
        found.pop("lookaside", None)
        return found

    async def until(self, wanted: dict[str, dict[str, int]]) -> None:
        async with asyncio.timeout(BOUND):
            while await self.clusters() != wanted:  # noqa: ASYNC110 (it tells of no change)
                await asyncio.sleep(0.02)

    async def refusals(self) -> dict[str, int]:
        """Return how many updates it has refused, of each kind."""
        rows = (await self.get("/stats?filter=update_rejected")).splitlines()
        return {name: int(number) for name, _, number in (row.partition(": ") for row in rows)}


@asynccontextmanager
async def envoy(
    port: int, variant: str, listeners: dict[str, int], folder: Path
) -> AsyncIterator[Envoy]:
    flags = [f"--listen={each}={name}" for name, each in listeners.items()]
    command = ["xds-bootstrap", "--kind=envoy", f"--address=127.0.0.1:{port}", *flags]
    printed = CliRunner().invoke(main, command)
    assert printed.exit_code == 0, printed.output
    config = yaml.safe_load(printed.output)
    config["dynamic_resources"]["ads_config"]["api_type"] = variant
    ports = Ports()
    admin = ports.reserve()
    socket = {"address": "127.0.0.1", "port_value": admin}
    config["admin"] = {"address": {"socket_address": socket}}
    file = folder / "envoy.yaml"
    file.write_text(yaml.safe_dump(config))
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(str(ENVOY), "--config-path", str(file), "--use-dynamic-base-id"),
            *("--concurrency", "1", "--log-level", "warning"),
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            running = Envoy(admin, session)
            async with asyncio.timeout(BOUND):
                while True:
                    try:
                        if await running.get("/ready") == "LIVE\n":
                            break
                    except aiohttp.ClientError:
                        pass
                    assert process.returncode is None, (folder / "envoy.log").read_text()
                    await asyncio.sleep(0.05)
            yield running
    finally:
        process.terminate()
        await process.wait()


@variants
async def test_an_envoy_has_what_the_service_lists_and_follows_its_changes(
    backends: list[str], variant: str, tmp_path: Path
) -> None:
    weights = dict(zip(backends, (100, 300, 50), strict=False))
    ports = Ports()
    listeners = {"greeter.shop": ports.reserve(), "orders.shop:80": ports.reserve()}
    port = ports.reserve()
    async with running(Balancer(port=port)) as balancer:
        balancer.sync(listed(weights))
        async with envoy(port, variant, listeners, tmp_path) as running_envoy:
            # Two of three names that it lists are there, or become so.
            await running_envoy.until({"greeter.shop": weights})
            balancer.update(listed({backends[3]: 7}, OTHER))
            await running_envoy.until({"greeter.shop": weights, "orders.shop:80": {backends[3]: 7}})
            for name, expected in (
                ("greeter.shop", set(weights)),
                ("orders.shop:80", {backends[3]}),
            ):
                assert await answering(listeners[name], 30) == expected
            balancer.update(listed({}))
            await running_envoy.until({"greeter.shop": {}, "orders.shop:80": {backends[3]: 7}})
            await balancer.server.stop(0)
            # Without the service, the last lists hold.
            assert await answering(listeners["orders.shop:80"], 10) == {backends[3]}
            async with running(Balancer(port=port)) as again:
                again.sync(listed({backends[0]: 1}))
                # What is no longer there is gone.
                await running_envoy.until({"greeter.shop": {backends[0]: 1}})
                assert await answering(listeners["greeter.shop"], 10) == {backends[0]}
            assert not any((await running_envoy.refusals()).values())
        assert not balancer.observer.xds


async def answering(port: int, requests: int) -> set[str]:
    """Return which backends answer."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/greeter.Greeter/SayHello"
        )
        answers = [await method(b"", timeout=BOUND, wait_for_ready=True) for _ in range(requests)]
    return {answer.decode().partition(" ")[0] for answer in answers}
