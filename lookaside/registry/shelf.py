"""The lists of one port of a service, one for each kind of client that must tell them apart."""

from lookaside.model import Revision, ServiceName, ServiceRecord
from lookaside.policy.topology import reach
from lookaside.policy.view import View
from lookaside.registry.feed import SourceFeed
from lookaside.registry.published import Encoder, Published
from lookaside.registry.snapshots import present


class Shelf:
    """What is made of one port as its source knows it now: of use until that changes.

    Args:
        name: The service and the port's own name.
        record: What its source knows of the service.
        feed: The source.
        encoder: Gives snapshots their wire form.
    """

    __slots__ = ("_encoder", "_feed", "_name", "_published", "_reach", "_record")

    def __init__(
        self, name: ServiceName, record: ServiceRecord, feed: SourceFeed, encoder: Encoder
    ) -> None:
        self._name = name
        self._record = record
        self._feed = feed
        self._encoder = encoder
        self._reach = reach(record.port_list(name.port))
        self._published: dict[View, Published] = {}

    def __len__(self) -> int:
        return len(self._published)

    def publish(self, view: View) -> Published:
        """Return the list of a client and its bytes, the very same ones for equal lists.

        Its revision says up to which version its source holds now.
        """
        name, record, feed = self._name, self._record, self._feed
        view = view.narrowed(record.port_list(name.port), self._reach)
        published = self._published.get(view)
        if published is None:
            published = Published(present(name, record, view, feed), self._encoder)
        else:
            version = feed.version_of(name.key)
            published = published.at(Revision(published.digest, version, feed.epoch))
        # A subset is one client's own: to keep it would be to keep it for nobody else.
        if not view.subset:
            self._published[view] = published
        return published
