"""A snapshot and its bytes, made when they are first wanted and shared by all who want them."""

from typing import Protocol

import msgspec

from lookaside.model import Revision, Snapshot
from lookaside.registry.diff import ListDiff, diffing
from lookaside.registry.steps import Steps, finish

_LIGHT = 64 * 1024
"""Bytes of a message whose copying costs as much as all else of a write."""


class Encoder(Protocol):
    """The wire form of snapshots. Concatenated messages merge, so that the last revision counts."""

    def snapshot(self, snapshot: Snapshot) -> Steps[bytes]:
        """Encode a whole snapshot."""

    def delta(self, snapshot: Snapshot, base: str, difference: ListDiff) -> Steps[bytes]:
        """Encode a snapshot as its difference from the one whose digest is the base."""

    def revision(self, revision: Revision) -> bytes:
        """Encode what is appended to a snapshot's bytes to give them another revision."""


class Form(Protocol):
    """Another wire form of snapshots: that of a door whose messages are its own."""

    def __call__(self, snapshot: Snapshot) -> Steps[bytes]:
        """Encode a whole snapshot without its revision."""


class Published:
    """A snapshot that is ready to be sent.

    Args:
        snapshot: The snapshot.
        encoder: Makes its bytes.
        same: The same list under an older revision, whose bytes are used again.

    Attributes:
        snapshot: The snapshot.
    """

    __slots__ = ("_deltas", "_encoder", "_forms", "_same", "_whole", "snapshot")

    def __init__(
        self, snapshot: Snapshot, encoder: Encoder, same: "Published | None" = None
    ) -> None:
        self.snapshot = snapshot
        self._encoder = encoder
        self._same = same
        self._whole: bytes | None = None
        self._deltas: dict[str, bytes] = {}
        self._forms: dict[Form, bytes] = {}

    @property
    def digest(self) -> str:
        """The digest of the list: equal for equal lists."""
        return self.snapshot.revision.digest

    @property
    def weight(self) -> int:
        """How many times as much as a short message it costs to write the whole list."""
        return 1 + len(self._whole or b"") // _LIGHT

    def at(self, revision: Revision) -> "Published":
        """Return the same list under another revision."""
        if revision == self.snapshot.revision:
            return self
        snapshot = msgspec.structs.replace(self.snapshot, revision=revision)
        return Published(snapshot, self._encoder, self._same or self)

    def whole(self) -> bytes:
        """Return the whole list's bytes."""
        return finish(self.encoding())

    def since(self, base: Snapshot) -> bytes:
        """Return the bytes of what has changed since another list, or of all where that is less."""
        return finish(self.comparing(base))

    def encoding(self) -> Steps[bytes]:
        """Return what `whole` does, in steps: it has it at hand then."""
        if self._whole is None:
            if self._same is None:
                self._whole = yield from self._encoder.snapshot(self.snapshot)
            else:
                self._whole = (yield from self._same.encoding()) + self._revision()
        return self._whole

    def forming(self, form: Form) -> Steps[bytes]:
        """Return the list in another form, made once for all who want it."""
        if self._same is not None:
            return (yield from self._same.forming(form))
        encoded = self._forms.get(form)
        if encoded is None:
            encoded = self._forms[form] = yield from form(self.snapshot)
        return encoded

    def comparing(self, base: Snapshot) -> Steps[bytes]:
        """Return what `since` does, in steps: it has it at hand then."""
        digest = base.revision.digest
        delta = self._deltas.get(digest)
        if delta is None:
            delta = self._deltas[digest] = yield from self._compare(base)
        return delta

    def _compare(self, base: Snapshot) -> Steps[bytes]:
        if self._same is not None:
            return (yield from self._same.comparing(base)) + self._revision()
        difference = yield from diffing(base.endpoints, self.snapshot.endpoints)
        if difference.size > len(self.snapshot.endpoints):
            return (yield from self.encoding())
        return (yield from self._encoder.delta(self.snapshot, base.revision.digest, difference))

    def _revision(self) -> bytes:
        return self._encoder.revision(self.snapshot.revision)
