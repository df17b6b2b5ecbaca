"""A list that is read page by page."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from lookaside.sources.kubernetes.api.client import Stream
from lookaside.sources.kubernetes.api.decode import Codec, Item
from lookaside.sources.kubernetes.api.errors import ApiStatus
from lookaside.sources.turns import in_turns

J = TypeVar("J")
T = TypeVar("T")


async def read_pages(
    ask: Callable[[dict[str, str]], AbstractAsyncContextManager[Stream]],
    codec: Codec[J, T],
    *,
    size: int,
    limit: int,
) -> tuple[list[Item[T]], str]:
    """Return the objects of a list and its resource version.

    With no resourceVersion in the query each list is a quorum read.

    Args:
        ask: Sends a list request with some parameters of its query.
        codec: Reads the answers.
        size: How many objects a page has.
        limit: The longest page, in bytes.

    Raises:
        KubernetesError: One of its kinds: a page can't be had, or can't be read.
    """
    items: list[Item[T]] = []
    query = {"limit": str(size)}
    while True:
        try:
            async with ask(query) as stream:
                body = await stream.read(limit)
        except ApiStatus as error:
            if error.code == 410 and "continue" in query:
                # As client-go's pager: the token outlived its snapshot, and would again.
                items, query = [], {}
                continue
            raise
        page = await in_turns(codec.reading(body))
        items += page.items
        if not page.token:
            return items, page.version
        query = {"limit": query["limit"]} if "limit" in query else {}
        query["continue"] = page.token
