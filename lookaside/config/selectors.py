"""Labels and label selectors of Kubernetes.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

import re

# The metadata that every endpoint may have: a label of that name would replace it.
_TAKEN = frozenset({"hostname", "node", "pod", "zone"})

_PREFIX = r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?"
_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = f"{_PREFIX}{_NAME}"
_VALUE = f"(?:{_NAME})?"
_SET = rf"\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\)"
_REQUIREMENT = rf"(?:!?{_KEY}|{_KEY}\s*(?:==?|!=)\s*{_VALUE}|{_KEY}\s+(?:in|notin)\s*{_SET})"
_LABEL_NAME = re.compile(_KEY)
_SELECTOR = re.compile(rf"\s*{_REQUIREMENT}\s*(?:,\s*{_REQUIREMENT}\s*)*")


def selector(text: str) -> str:
    """Read a label selector, as of ``kubectl --selector``."""
    if not _SELECTOR.fullmatch(text):
        raise ValueError("a label selector such as app=web,tier!=test or 'app in (a, b)'")
    return text.strip()


def label_name(text: str) -> str:
    """Read the name of a label that is passed on as metadata."""
    if not _LABEL_NAME.fullmatch(text):
        raise ValueError("the name of a label, such as version or app.kubernetes.io/version")
    if text in _TAKEN:
        raise ValueError(f"another label than {text}, which metadata has of itself")
    return text
