"""Several lists of one resource, taken as one."""

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

T = TypeVar("T")


class Union(Generic[T]):
    """The lists of one resource in several namespaces.

    Each list is one that stays true by itself: a view of what its store holds.

    Args:
        replace: Takes the whole of all lists, which holds up to a version, whenever one is new.
    """

    def __init__(self, replace: Callable[[Collection[T], int], None]) -> None:
        self._replace = replace
        self._lists: list[Collection[T]] = []

    def add(self) -> Callable[[Collection[T], int], None]:
        """Return what takes the whole of one more list."""
        index = len(self._lists)
        self._lists.append(())

        def replace(items: Collection[T], version: int) -> None:
            self._lists[index] = items
            whole = items
            if len(self._lists) > 1:
                whole = [item for listed in self._lists for item in listed]
            self._replace(whole, version)

        return replace
