import asyncio
from itertools import pairwise
from typing import Any

import pytest

import client_resolver.aio

MANY = "static:///" + ",".join(f"127.0.0.1:{port}" for port in range(1, 31))


@pytest.fixture(autouse=True)
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each action takes longer than a portion."""
    monkeypatch.setattr("client_resolver.aio.backend_connections._PORTION", 0.0)


async def test_a_long_list_is_connected_a_portion_in_each_turn_of_the_loop() -> None:
    channel: Any
    async with client_resolver.aio.insecure_channel(MANY) as channel:
        channel.get_state(try_to_connect=True)
        opened = channel._driver.channels
        seen = [len(opened)]
        while seen[-1] < 30:
            await asyncio.sleep(0)
            seen.append(len(opened))
        assert all(later - earlier <= 1 for earlier, later in pairwise(seen))
        assert seen[0] == 1


async def test_a_channel_that_is_closed_before_all_are_connected_connects_no_more() -> None:
    channel: Any = client_resolver.aio.insecure_channel(MANY)
    channel.get_state(try_to_connect=True)
    await channel.close()
    await asyncio.sleep(0)
    assert not channel._driver.channels
