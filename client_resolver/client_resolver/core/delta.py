"""Changes of a list, sent instead of the whole."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from client_resolver.core.model import Endpoint, ServerList, SetAside

__all__ = ["Delta", "UnknownBase"]

T = TypeVar("T", Endpoint, SetAside)


class UnknownBase(Exception):
    """A delta applies to a list that is not held: nothing can be made of it."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One message of a watch that says what has changed since another list, checked.

    Attributes:
        base: The digest of that list.
        changed: The list that it becomes, with the servers alone that are new or have changed.
        removed: The addresses of the servers that have gone.
    """

    base: str
    changed: ServerList
    removed: tuple[str, ...] = ()

    def apply(self, base: ServerList) -> ServerList:
        """Return the whole list, ordered as the balancer orders: by host, then by port."""
        changed = self.changed
        replaced = {
            *self.removed,
            *map(_address, changed.endpoints),
            *map(_address, changed.set_aside),
        }
        return replace(
            changed,
            endpoints=_merge(base.endpoints, replaced, changed.endpoints),
            set_aside=_merge(base.set_aside, replaced, changed.set_aside),
        )


def _merge(old: Iterable[T], replaced: set[str], new: Iterable[T]) -> tuple[T, ...]:
    merged = [one for one in old if _address(one) not in replaced]
    merged.extend(new)
    merged.sort(key=_place)
    return tuple(merged)


def _address(one: Endpoint | SetAside) -> str:
    return one.address.text if isinstance(one, Endpoint) else one.address


def _place(one: Endpoint | SetAside) -> tuple[str, int, str]:
    text = _address(one)
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdigit()):
        return text, 0, text
    return host.removeprefix("[").removesuffix("]"), int(port), text
