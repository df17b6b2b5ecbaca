"""The store of one resource: its objects, and the version up to which they hold. Pure."""

from collections.abc import Collection
from typing import Generic, TypeVar

from msgspec import Struct

from lookaside.registry.steps import Steps, portions
from lookaside.sources.kubernetes.api.decode import Bookmark, Change, Item, Key
from lookaside.sources.kubernetes.api.errors import SuspiciousList, VersionRegression

T = TypeVar("T")

Listed = dict[Key, T]

FEW = 20


class ObjectUpdate(Struct, Generic[T], frozen=True, gc=False):
    """The change that an event made to the store.

    Attributes:
        key: The object's namespace and name.
        old: The object before; None if there was none.
        new: The object now; None if it is gone.
        version: The event's resource version; 0 if versions are not numbers.
    """

    key: Key
    old: T | None
    new: T | None
    version: int


class ResourceStore(Generic[T]):
    """The objects of one resource, as the last list and the events since have left them.

    Args:
        mass_removal: A list that lacks more than this share of what is held, 0 to 1, if that is at
            least `FEW`, or all of it, however little, is doubted; 0: none is.

    Attributes:
        position: The resource version to watch from; None: there must be a list first.
        version: The last resource version as a number; 0 if versions are not numbers.
        doubting: A list that lacks most of what is held awaits its confirmation.
    """

    def __init__(self, mass_removal: float = 0.5) -> None:
        self._mass_removal = mass_removal
        self._items: Listed[T] = {}
        self.position: str | None = None
        self.version = 0
        self.doubting = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> Collection[T]:
        """The objects."""
        return self._items.values()

    def collect(self, listed: Listed[T], item: Item[T], *, deleted: bool = False) -> None:
        """Put an object among those of a list. A malformed one leaves what is known of it."""
        if item.key is None:
            return
        held = self._items.get(item.key)
        value = held if item.malformed else item.value
        if deleted or value is None:
            listed.pop(item.key, None)
        else:
            # Keep the old object if it is equal: the next comparison is then one of identities.
            listed[item.key] = held if held is not None and held == value else value

    def committing(self, listed: Listed[T], version: str) -> Steps[bool]:
        """Replace what is held with a list, in steps; return whether its version went back.

        Raises:
            SuspiciousList: It lacks most of what is held; the next one is believed.
        """
        held, lost = len(self._items), 0
        for keys in portions(self._items):
            lost += sum(key not in listed for key in keys)
            yield 0
        if not self.doubting and self._is_mass_removal(held, lost):
            self.doubting = True
            raise SuspiciousList(f"the list lacks {lost} of {held} objects; it is read again")
        number = _number(version)
        rewound = 0 < number < self.version
        self._items = listed
        self.position = version
        self.version = number
        self.doubting = False
        return rewound

    def follow(self, event: Change[T] | Bookmark) -> ObjectUpdate[T] | None:
        """Take one event of a watch and move the position. None: no object changed.

        Raises:
            VersionRegression: Its version is lower than one before; it is not taken.
        """
        version = event.version
        number = _number(version)
        if number and number < self.version:
            raise VersionRegression(f"resource version {number} came after {self.version}")
        update = None
        if isinstance(event, Change) and (key := event.item.key) is not None:
            old = self._items.get(key)
            self.collect(self._items, event.item, deleted=event.deleted)
            new = self._items.get(key)
            if old is not new:
                update = ObjectUpdate(key, old, new, number or self.version)
        if version:
            self.position = version
            self.version = number
        return update

    def _is_mass_removal(self, held: int, lost: int) -> bool:
        if not lost or not self._mass_removal:
            return False
        return lost == held or (held >= FEW and lost > held * self._mass_removal)


def _number(version: str) -> int:
    """Read a resource version, a number of 64 bits since Kubernetes 1.35; 0: it is not one."""
    decimal = version.isascii() and version.isdecimal() and len(version) < 20
    return int(version) if decimal else 0
