"""The last known list on disk, for a client that starts while no balancer can be reached.

``` json
{"format": 1, "target": "lookaside://lb:50052/greeter", "state": "PRESENT",
 "revision": {"digest": "a1", "version": 7, "epoch": "e"}, "service_config": "",
 "endpoints": [{"address": "10.0.0.1:80", "weight": 1, "zone": "", "node": "", "metadata": {}}]}
```
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from client_resolver.core.address import parse_address
from client_resolver.core.fields import inside, listed, object_in, required, text, whole
from client_resolver.core.model import Endpoint, ListState, Revision, ServerList

__all__ = ["INTERVAL", "CacheFile", "decode", "encode", "worth_keeping"]

INTERVAL = 1.0
"""Seconds between two times that a list is written."""

_FORMAT = 1
_logger = logging.getLogger("client_resolver")


class CacheFile:
    """A file with the list of one target. Where processes share it, the last one to write wins.

    Args:
        path: The file. Its directory must be there.
        target: What the list is of: a list of another target is not read.
    """

    def __init__(self, path: Path, target: str) -> None:
        self._path = path
        self._target = target

    def load(self) -> ServerList | None:
        """Return the list that the file has. None, with a warning, for one that is of no use."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"can't be read: {error}")
            return None
        try:
            return decode(raw, self._target)
        except Exception as error:  # noqa: BLE001 - whatever a file has
            self._warn(f"is not used: {error}")
            return None

    def save(self, current: ServerList) -> None:
        """Replace the file as a whole. What goes wrong is a warning: the channel works on."""
        try:
            self._replace(encode(current, self._target))
        except OSError as error:
            self._warn(f"can't be written: {error}")

    def _replace(self, raw: bytes) -> None:
        path = self._path
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise

    def _warn(self, what: str) -> None:
        _logger.warning("%s: the snapshot %s %s", self._target, self._path, what)


def worth_keeping(current: ServerList | None) -> bool:
    """Whether a client could start with a list: it has backends, and they aren't a fallback's."""
    return current is not None and bool(current.endpoints) and not current.provisional


def encode(current: ServerList, target: str) -> bytes:
    """Return a list as JSON."""
    revision = current.revision
    return json.dumps(
        {
            "format": _FORMAT,
            "target": target,
            "state": current.state.name,
            "revision": {
                "digest": revision.digest,
                "version": revision.version,
                "epoch": revision.epoch,
            },
            "service_config": current.service_config,
            "endpoints": [
                {
                    "address": endpoint.address.text,
                    "weight": endpoint.weight,
                    "zone": endpoint.zone,
                    "node": endpoint.node,
                    "metadata": dict(endpoint.metadata),
                }
                for endpoint in current.endpoints
            ],
        }
    ).encode()


def decode(raw: bytes, target: str) -> ServerList:
    """Read what `encode` has made of this target's list.

    Raises:
        ValueError: It is damaged, of another format, or another target's. The message says which.
    """
    document = _object(json.loads(raw), "the file")
    if document.get("format") != _FORMAT:
        raise ValueError(f"its format is {document.get('format')!r}, and {_FORMAT} is known")
    if document.get("target") != target:
        raise ValueError(f"it is of the target {document.get('target')!r}")
    required(document, "endpoints")
    endpoints = tuple(
        _endpoint(_object(one, "an endpoint")) for one in listed(document, "endpoints", [])
    )
    if len({endpoint.address for endpoint in endpoints}) != len(endpoints):
        raise ValueError("an address is given twice")
    state = text(document, "state", "UNSPECIFIED")
    if state not in ListState.__members__:
        raise ValueError(f"state is {state!r}")
    with inside("revision"):
        revision = object_in(document, "revision") or {}
        known = Revision(
            text(revision, "digest", ""),
            _version(revision),
            text(revision, "epoch", ""),
        )
    service_config = text(document, "service_config", "")
    return ServerList(endpoints, ListState[state], known, service_config=service_config)


def _endpoint(fields: Mapping[str, object]) -> Endpoint:
    required(fields, "address")
    metadata = object_in(fields, "metadata") or {}
    return Endpoint(
        address=parse_address(text(fields, "address", "")),
        weight=whole(fields, "weight", 1),
        metadata=tuple(sorted((name, text(metadata, name, "")) for name in metadata)),
        zone=text(fields, "zone", ""),
        node=text(fields, "node", ""),
    )


def _version(revision: Mapping[str, object]) -> int:
    value = revision.get("version", 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError(f"version is {value!r}")
    return value


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a JSON object")  # noqa: TRY004
    return value
