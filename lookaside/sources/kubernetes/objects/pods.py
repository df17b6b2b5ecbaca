"""The metadata of Pods of core/v1: meta.k8s.io/v1 PartialObjectMetadata, or whole Pods."""

from collections.abc import Mapping
from functools import lru_cache
from sys import intern

import msgspec
from msgspec import Raw, Struct

from lookaside.registry.slices import Pod
from lookaside.sources.kubernetes.api.decode import Codec, Item, Unreadable, decode
from lookaside.sources.kubernetes.objects.meta import Annotations, salvage_annotations


class _Meta(Struct, gc=False, rename="camel"):
    name: str
    namespace: str
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: Annotations | None = None


class PodJson(Struct, gc=False):
    """The JSON of a Pod."""

    metadata: _Meta


class _LooseMeta(Struct, gc=False, rename="camel"):
    name: str
    namespace: str
    uid: str = ""
    resource_version: str = ""
    labels: Raw = Raw(b"null")
    annotations: Raw = Raw(b"null")


class _LoosePod(Struct, gc=False):
    metadata: _LooseMeta


_LOOSE = msgspec.json.Decoder(_LoosePod)
_LABELS = msgspec.json.Decoder(dict[str, str] | None)
_NO_ANNOTATIONS = Annotations()


def convert_pod(json: PodJson) -> Item[Pod]:
    """Make a Pod of well-formed JSON."""
    meta = json.metadata
    value = Pod(
        intern(meta.namespace),
        meta.name,
        meta.uid,
        _shared_labels(tuple(meta.labels.items())) if meta.labels else {},
        (meta.annotations or _NO_ANNOTATIONS).weight or "",
    )
    return Item((value.namespace, value.name), value, meta.resource_version)


def salvage_pod(raw: bytes | Raw) -> Item[Pod]:
    """Make a Pod of what is well-formed in one that is not.

    Raises:
        Unreadable: Its name, namespace or UID is wrong.
    """
    loose = decode(_LOOSE, raw).metadata
    annotations, flaws = salvage_annotations(loose.annotations)
    labels = None
    try:
        labels = decode(_LABELS, loose.labels)
    except Unreadable as error:
        flaws.append(f"the labels are set aside: {error}")
    meta = _Meta(
        loose.name, loose.namespace, loose.uid, loose.resource_version, labels, annotations
    )
    item = convert_pod(PodJson(meta))
    return Item(item.key, item.value, item.version, len(flaws))


PODS = Codec(PodJson, convert_pod, salvage_pod)


# The Pods of a ReplicaSet have the same labels.
@lru_cache(maxsize=4096)
def _shared_labels(labels: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return {intern(name): intern(value) for name, value in labels}
