"""Work in steps, on an event loop."""

import asyncio
from typing import TypeVar

from lookaside.registry.steps import Steps

T = TypeVar("T")


async def in_turns(steps: Steps[T]) -> T:
    """Do work; the loop goes on with something else after each step. Return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
