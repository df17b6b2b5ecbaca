"""The part of a client's identity that selects its list."""

from msgspec import Struct

from lookaside.model import Endpoint, PortList
from lookaside.policy.subset import subset
from lookaside.policy.topology import ANYWHERE, Place, Reach, reach, relevant, select


class View(Struct, frozen=True, gc=False):
    """The client properties that select its list of a service.

    Attributes:
        place: Where the client runs.
        subset: How many endpoints it wants; 0 for all.
        client: Its id, by which its subset is chosen.
    """

    place: Place = ANYWHERE
    subset: int = 0
    client: str = ""

    def narrowed(self, whole: PortList, known: Reach | None = None) -> "View":
        """Return the view without what makes no difference to a list: equal views get equal lists.

        Args:
            whole: What the list is made of.
            known: What `reach` returned for it, where that has been called.
        """
        place = relevant(reach(whole) if known is None else known, self.place)
        if self.subset and self.subset < len(select(whole, place)):
            return View(place, self.subset, self.client)
        return View(place)

    def of(self, whole: PortList) -> tuple[Endpoint, ...]:
        """Return a list as a client with this view, `narrowed` for the list, is to see it."""
        return subset(select(whole, self.place), self.subset, self.client)


WHOLE = View()
