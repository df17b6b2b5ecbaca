"""One resource of a source: its reflector, and how far what it tells goes."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from lookaside.registry.steps import Steps
from lookaside.sources.kubernetes.api.client import Opener
from lookaside.sources.kubernetes.objects.resources import Resource
from lookaside.sources.kubernetes.reflector import Reflector
from lookaside.sources.kubernetes.resource_store import ObjectUpdate
from lookaside.sources.kubernetes.source_settings import KubernetesSettings
from lookaside.sources.kubernetes.timing import Timing

T = TypeVar("T")


class Owner(Protocol):
    """Receives events of an informer. Times are in seconds of the source's clock."""

    def rewound(self, informer: object) -> None:
        """A list is about to be taken whose version went back, which was not to be expected."""

    def listed(self, *, at: float) -> None:
        """A list has been taken."""

    def followed(self, *, at: float) -> None:
        """Events or a bookmark came."""

    def contacted(self) -> None:
        """The API server confirmed what an informer holds."""

    def failed(self, reason: str) -> None:
        """Something failed, by one of a few fixed words."""


class ResourceInformer(Generic[T]):
    """One resource, as its reflector tells of it. A `reflector.Handler`.

    Args:
        resource: What it is.
        opener: The connection to the API server.
        owner: The source that it is a part of.
        replace: Puts the list of a namespace, or of all, which holds up to a version, into the
            index.
        change: Puts updates into the index.
        namespace: The namespace; None: all.
        selector: The label selector of the objects; "" for all.
        settings: Bounds.
        timing: Clock, timers and random numbers.

    Attributes:
        name: The resource's name.
        namespace: Its namespace; None: all.
        synced: Whether it has been listed.
        listing: Whether a list is half in.
        version: The resource version up to which it is known.
        last_contact: When it was confirmed last, in seconds of the clock.
        trouble: Why it has failed since, in words; "" if it has not.
    """

    def __init__(
        self,
        resource: Resource[Any, T],
        opener: Opener,
        owner: Owner,
        *,
        replace: Callable[[Collection[T], int, str | None], Steps[None]],
        change: Callable[[Sequence[ObjectUpdate[T]]], None],
        namespace: str | None,
        selector: str = "",
        settings: KubernetesSettings,
        timing: Timing,
    ) -> None:
        self.name = resource.plural
        self.namespace = namespace
        self.synced = self.listing = False
        self.version = 0
        self.last_contact: float | None = None
        self.trouble = ""
        self._owner = owner
        self._replace = replace
        self._change = change
        self._awaits_rewind = False
        self._reflector = Reflector(
            resource,
            opener,
            self,
            namespace=namespace,
            selector=selector,
            settings=settings,
            timing=timing,
        )

    @property
    def doubting(self) -> bool:
        """Whether a list that lacks most of what is held awaits its confirmation."""
        return self._reflector.doubting

    def begin(self) -> None:
        """Have it listed before anything else, whatever is held."""
        self.synced = False
        self._reflector.distrust()

    async def run(self) -> None:
        """List and watch until cancelled."""
        await self._reflector.run()

    def expect_rewind(self, version: int) -> None:
        """Have it listed again, and vouch for no more than this version until then."""
        self._awaits_rewind = True
        self.version = min(self.version, version)
        self._reflector.distrust()

    def replacing(
        self, items: Collection[T], version: int, *, rewound: bool, at: float
    ) -> Steps[None]:
        """Take a whole list; its reflector calls this. It vouches for it when it is in."""
        expected, self._awaits_rewind = self._awaits_rewind, False
        if rewound:
            self.version = version
            if not expected:
                self._owner.rewound(self)
        self.listing = True
        try:
            yield from self._replace(items, version, self.namespace)
        finally:
            self.listing = False
        self.synced = True
        if not self._awaits_rewind:
            self.version = version
        self.contact(at=at)
        self._owner.listed(at=at)

    def changed(self, updates: Sequence[ObjectUpdate[T]], version: int, *, at: float) -> None:
        """Take some events; its reflector calls this."""
        if self._awaits_rewind:
            updates = [msgspec.structs.replace(each, version=self.version) for each in updates]
        else:
            self.version = version
        self._change(updates)
        self.contact(at=at)
        self._owner.followed(at=at)

    def contact(self, *, at: float) -> None:
        """Note that the API server confirmed it; its reflector calls this."""
        self.last_contact = at
        self.trouble = ""
        self._owner.contacted()

    def failed(self, reason: str, cause: str = "") -> None:
        """Note a failure; its reflector calls this."""
        self.trouble = cause or reason
        self._owner.failed(reason)
