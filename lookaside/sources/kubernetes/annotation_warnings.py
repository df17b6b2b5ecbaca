"""Reports refused annotations: each once, for as long as it stays as it is.

Each change of a bad one is counted, and logged once a minute at most: an author of an object
may write it as often as it likes.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from lookaside.logging import OncePerMinute, get_logger
from lookaside.policy.service_config import SERVICE_CONFIG
from lookaside.policy.weights import WEIGHT, WEIGHTS
from lookaside.registry.annotations import RefusedAnnotation
from lookaside.registry.slices import Pod, Service, Slice
from lookaside.registry.steps import Steps, chunks, finish, portions
from lookaside.sources import SourceObserver
from lookaside.sources.kubernetes.resource_store import ObjectUpdate

Annotated = Service | Slice | Pod
Name = tuple[str, str, str]

_LINES = 20
"""Lines of the log that one step writes."""

_log = get_logger("sources.kubernetes")


class AnnotationWarnings:
    """Reports refused annotations, each once.

    Args:
        observer: Receives them, in addition to the log.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self, observer: SourceObserver, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observer = observer
        self._lines = OncePerMinute(clock)
        self._told: dict[Name, dict[str, str]] = {}

    def followed(
        self,
        kind: str,
        updates: Sequence[ObjectUpdate[Slice]]
        | Sequence[ObjectUpdate[Service]]
        | Sequence[ObjectUpdate[Pod]],
        refused: Sequence[RefusedAnnotation],
    ) -> None:
        """Take what some objects have become, and what of them is refused.

        Args:
            kind: What all of them are.
            updates: What they have become.
            refused: The annotations that are refused.
        """
        if not refused and not self._told:
            return
        changed = {(kind, *each.key): _texts(each.new) for each in updates}
        finish(self._telling(changed, refused))

    def listing(
        self,
        kind: str,
        items: Iterable[Annotated],
        refused: Sequence[RefusedAnnotation],
        namespace: str | None = None,
    ) -> Steps[None]:
        """Take all objects of a kind, and what is refused of those that changed, in steps.

        Args:
            kind: What all of them are.
            items: The objects, which must not change meanwhile; what is missing from them is gone.
            refused: The annotations that are refused.
            namespace: Where the objects are; None: in all.
        """
        if not refused and not self._told:
            return
        changed: dict[Name, dict[str, str]] = {
            name: {} for name in self._told if name[0] == kind and namespace in (None, name[1])
        }
        concerned = changed.keys() | {(one.kind, one.namespace, one.name) for one in refused}
        for some in portions(items):
            for item in some:
                name = (kind, *_key(item))
                if name in concerned:
                    changed[name] = _texts(item)
            yield 0
        yield from self._telling(changed, refused)

    def _telling(
        self, changed: dict[Name, dict[str, str]], refused: Sequence[RefusedAnnotation]
    ) -> Steps[None]:
        for name in changed.keys() & self._told.keys():
            told, now = self._told.pop(name), changed[name]
            left = {each: text for each, text in told.items() if now.get(each) == text}
            if left:
                self._told[name] = left
        for some in chunks(refused, _LINES):
            for refusal in some:
                self._tell(refusal, changed)
            yield 0

    def _tell(self, refusal: RefusedAnnotation, changed: dict[Name, dict[str, str]]) -> None:
        name = (refusal.kind, refusal.namespace, refusal.name)
        told = self._told.setdefault(name, {})
        if refusal.annotation in told:
            return
        told[refusal.annotation] = changed.get(name, {}).get(refusal.annotation, "")
        self._observer.refused(refusal.kind, refusal.annotation)
        if self._lines.allows((name, refusal.annotation)):
            _log.warning(
                "annotation refused",
                kind=refusal.kind,
                object=f"{refusal.namespace}/{refusal.name}",
                annotation=refusal.annotation,
                reason=refusal.reason,
            )


def _key(item: Annotated) -> tuple[str, str]:
    match item:
        case Slice():
            return item.service.namespace, item.name
        case Service():
            return item.key.namespace, item.key.name
        case Pod():
            return item.namespace, item.name


def _texts(item: Annotated | None) -> dict[str, str]:
    match item:
        case None:
            return {}
        case Service():
            return {WEIGHTS: item.weights, SERVICE_CONFIG: item.service_config}
        case _:
            return {WEIGHT: item.weight}
