"""Access rules: the form of ``--allow``."""

import re
from dataclasses import dataclass
from typing import Final, Literal

ALL: Final = "*"
OWN: Final = "."

IdentityKind = Literal["spiffe", "dns", "serviceaccount", "any"]

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
# The character sets of SPIFFE-ID.md, sections 2.1 and 2.2. The star may not reach into the trust
# domain: example.org* would be example.org.evil too.
_TRUST_DOMAIN = r"spiffe://[a-z0-9._-]{1,255}"
# No segment is "." or "..".
_SEGMENT = r"(?!\.{1,2}(?:[/*]|$))[A-Za-z0-9._-]+"
_SPIFFE = re.compile(rf"{_TRUST_DOMAIN}/(?:{_SEGMENT}(?:/{_SEGMENT})*(?:/?\*)?|\*)")
_SPIFFE_ID = re.compile(rf"{_TRUST_DOMAIN}(?:/{_SEGMENT})*")
_LONGEST_SPIFFE_ID = 2048
_DNS = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_ACCOUNT = re.compile(rf"(?:{_LABEL}|\*)/(?:{_LABEL}(?:\.{_LABEL})*|\*)")


@dataclass(frozen=True, slots=True)
class Allowance:
    """One ``--allow``: what callers of some identities may ask for.

    Attributes:
        kind: What the identity is read from: ``spiffe`` and ``dns`` of a client's certificate,
            ``serviceaccount`` of a token, ``any`` of either.
        pattern: The SPIFFE id, with a trailing ``*`` for a prefix; the DNS name, with a leading
            ``*`` for one label; ``NAMESPACE/NAME`` of a ServiceAccount, either may be ``*``; "" for
            any.
        namespaces: Names, `ALL` for every one, `OWN` for the ServiceAccount's own.
    """

    kind: IdentityKind
    pattern: str
    namespaces: tuple[str, ...]

    def __str__(self) -> str:
        prefix = {"spiffe": "", "any": "*"}.get(self.kind, f"{self.kind}:")
        return f"{prefix}{self.pattern}={','.join(self.namespaces)}"


def allowance(text: str) -> Allowance:
    """Read ``IDENTITY=NAMESPACE[,NAMESPACE...]``.

    Raises:
        ValueError: It is not of that form; the text says what is expected.
    """
    identity, equals, listed = text.rpartition("=")
    namespaces = tuple(dict.fromkeys(each.strip() for each in listed.split(",")))
    if not equals:
        raise ValueError("IDENTITY=NAMESPACE, such as serviceaccount:shop/cart=shop")
    kind, pattern = _identity(identity.strip())
    for namespace in namespaces:
        if namespace not in (ALL, OWN) and not _NAMESPACE.fullmatch(namespace):
            raise ValueError(
                f"namespaces after the =, * for all or . for the caller's own, not {namespace!r}"
            )
    if OWN in namespaces and kind in ("spiffe", "dns"):
        raise ValueError(
            "namespaces after the =: . is a ServiceAccount's own, a certificate's none"
        )
    return Allowance(kind, pattern, namespaces)


def is_spiffe_id(text: str) -> bool:
    """Say whether a text is a SPIFFE id (SPIFFE-ID.md, section 2): no query, no ``..``."""
    return len(text) <= _LONGEST_SPIFFE_ID and _SPIFFE_ID.fullmatch(text) is not None


def _identity(text: str) -> tuple[IdentityKind, str]:
    if text == "*":
        return "any", ""
    if text.startswith("spiffe:"):
        return "spiffe", _matched(_SPIFFE, text, "spiffe://TRUST_DOMAIN/PATH, * at its end alone")
    kind, _, pattern = text.partition(":")
    if kind == "dns":
        return "dns", _matched(_DNS, pattern.lower(), "dns:NAME or dns:*.NAME")
    if kind == "serviceaccount":
        form = "serviceaccount:NAMESPACE/NAME, * for any"
        return "serviceaccount", _matched(_ACCOUNT, pattern, form)
    raise ValueError(
        "an identity before the =: spiffe://TRUST_DOMAIN/PATH, dns:NAME, "
        "serviceaccount:NAMESPACE/NAME or *"
    )


def _matched(form: re.Pattern[str], text: str, expected: str) -> str:
    if not form.fullmatch(text):
        raise ValueError(expected)
    return text
