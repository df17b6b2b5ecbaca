"""ObjectMeta of meta.k8s.io/v1, as far as it matters here."""

import msgspec
from msgspec import Raw, Struct

from lookaside.policy.service_config import SERVICE_CONFIG
from lookaside.policy.weights import WEIGHT, WEIGHTS
from lookaside.sources.kubernetes.api.decode import Unreadable, decode

_TEXTS = msgspec.json.Decoder(dict[str, Raw] | None)
_TEXT = msgspec.json.Decoder(str | None)


class Labels(Struct, gc=False):
    """The labels that matter here."""

    service_name: str | None = msgspec.field(name="kubernetes.io/service-name", default=None)


class Annotations(Struct, gc=False):
    """The annotations that matter here, whatever object has them."""

    weight: str | None = msgspec.field(name=WEIGHT, default=None)
    weights: str | None = msgspec.field(name=WEIGHTS, default=None)
    service_config: str | None = msgspec.field(name=SERVICE_CONFIG, default=None)


class Meta(Struct, gc=False, rename="camel"):
    """ObjectMeta, as far as it matters here."""

    name: str
    namespace: str
    resource_version: str = ""
    labels: Labels | None = None
    annotations: Annotations | None = None


class LooseMeta(Struct, gc=False, rename="camel"):
    """ObjectMeta whose annotations may be malformed."""

    name: str
    namespace: str
    resource_version: str = ""
    labels: Labels | None = None
    annotations: Raw = Raw(b"null")

    def meta(self) -> tuple[Meta, list[str]]:
        """Return what is well-formed, and a sentence for each part that is not."""
        annotations, flaws = salvage_annotations(self.annotations)
        meta = Meta(self.name, self.namespace, self.resource_version, self.labels, annotations)
        return meta, flaws


def salvage_annotations(raw: Raw) -> tuple[Annotations, list[str]]:
    """Read each annotation alone; return the good ones, and a sentence for each that is not."""
    annotations = Annotations()
    try:
        written = decode(_TEXTS, raw) or {}
    except Unreadable as error:
        return annotations, [f"the annotations are set aside: {error}"]
    flaws: list[str] = []
    for field in msgspec.structs.fields(Annotations):
        try:
            text = decode(_TEXT, written.get(field.encode_name, Raw(b"null")))
        except Unreadable as error:
            flaws.append(f"the annotation {field.encode_name} is set aside: {error}")
        else:
            setattr(annotations, field.name, text)
    return annotations, flaws
