"""Identifies callers and decides which namespaces they may query.

A caller is known by the certificate that it shows under mutual TLS, and by a Kubernetes token in
the metadata ``authorization: Bearer TOKEN``. What it may ask for is all that its certificate and
its token may. Names that only look alike are distinguished by their field of the
certificate: gRPC gives the DNS names separately from the URIs, and a SPIFFE id only where the
certificate has no second URI (X509-SVID.md, section 2).

Rights are looked at when a call begins. A watch that is open goes on when its right is taken away,
up to the age at which every watch is ended.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from grpc.aio import ServicerContext
from msgspec import Struct

from lookaside.api.alternative_names import has_cut_names
from lookaside.api.calls import host
from lookaside.config import ALL, OWN, Allowance, is_spiffe_id
from lookaside.errors import NotAllowed, Unidentified, shortened
from lookaside.model import ServiceAccount

Request = TypeVar("Request")
Response = TypeVar("Response")


class TokenReviewer(Protocol):
    """Tells whose a token is."""

    async def review(self, token: str) -> ServiceAccount | None:
        """Return whom a token was given to; None if it is not good.

        Raises:
            LookasideError: It can't be determined now.
        """


class CallerTokens(Protocol):
    """Tells whose the token is that a host shows."""

    async def review(self, token: str, host: str) -> ServiceAccount | None:
        """Return whom a token was given to; None if it is not good.

        Raises:
            LookasideError: It can't be determined now.
        """


class Caller(Struct, frozen=True):
    """The identity of a caller.

    Attributes:
        certified: Whether a certificate of a trusted authority was shown.
        spiffe: Its SPIFFE id; "" for none.
        dns: Its DNS names.
        account: The token's ServiceAccount; None without a token.
    """

    certified: bool = False
    spiffe: str = ""
    dns: tuple[str, ...] = ()
    account: ServiceAccount | None = None

    def __str__(self) -> str:
        names = [self.spiffe] if self.spiffe else []
        names += [f"dns:{name}" for name in self.dns]
        if self.certified and not names:
            names.append("a certificate without SPIFFE id and DNS name")
        if self.account:
            names.append(str(self.account))
        return " and ".join(names) or "nobody"

    def is_meant_by(self, allowance: Allowance) -> bool:
        """Whether an allowance is for this caller."""
        match allowance.kind:
            case "any":
                return self.certified or self.account is not None
            case "spiffe":
                return _matches_prefix(allowance.pattern, self.spiffe)
            case "dns":
                return any(_matches_name(allowance.pattern, name) for name in self.dns)
            case "serviceaccount":
                return self.account is not None and _is_account(allowance.pattern, self.account)


class Grant(Struct, frozen=True):
    """The rights of one caller.

    Attributes:
        caller: Who it is, in words.
        namespaces: The namespaces; None for all.
    """

    caller: str
    namespaces: frozenset[str] | None

    def allows(self, namespace: str) -> bool:
        """Whether the caller may ask for a namespace."""
        return self.namespaces is None or namespace in self.namespaces

    def require(self, namespace: str) -> None:
        """Check that the caller may ask for a namespace.

        Raises:
            NotAllowed: It may not.
        """
        if not self.allows(namespace):
            raise NotAllowed(
                f"{shortened(self.caller)} may not ask for the namespace {shortened(namespace)}"
            )


EVERYTHING = Grant("everyone", None)
NOTHING = Grant("nobody", frozenset())


def granted(caller: Caller, allowances: Iterable[Allowance]) -> Grant:
    """Return what a caller may ask for: all that any allowance for it gives.

    Raises:
        Unidentified: The caller has shown nothing.
    """
    if caller == Caller():
        raise Unidentified("show who asks: a client certificate, or a Kubernetes token")
    namespaces = set[str]()
    for each in allowances:
        if caller.is_meant_by(each):
            namespaces.update(each.namespaces)
    if ALL in namespaces:
        return Grant(str(caller), None)
    if OWN in namespaces and caller.account:
        namespaces.add(caller.account.namespace)
    return Grant(str(caller), frozenset(namespaces - {OWN}))


def certified(auth: Mapping[str, Iterable[bytes]]) -> Caller:
    """Return who is known by a certificate.

    A wildcard among its DNS names is not one: it would say of its bearer to be any of many. What
    is no SPIFFE id, by its characters or segments, is none either: with ``..`` it would have the
    prefix of another.

    Args:
        auth: The auth context of the call, as gRPC gives it.

    Raises:
        Unidentified: A name of the certificate has a NUL in it, at which gRPC cuts it.
    """
    if "x509_pem_cert" not in auth:
        return Caller()
    if any(map(has_cut_names, auth["x509_pem_cert"])):
        raise Unidentified("the certificate has a name with a NUL in it")
    spiffe = next(
        (value.decode("ascii", "replace") for value in auth.get("peer_spiffe_id", ())), ""
    )
    names = [value.decode("ascii", "replace").lower() for value in auth.get("peer_dns", ())]
    if not is_spiffe_id(spiffe):
        spiffe = ""
    return Caller(True, spiffe, tuple(name for name in names if "*" not in name))


def bearer(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the token that a call carries, "" for none.

    Raises:
        Unidentified: It carries several.
    """
    tokens = []
    for key, value in metadata:
        scheme, _, token = str(value).partition(" ")
        if key == "authorization" and scheme.lower() == "bearer":
            tokens.append(token.strip())
    if len(tokens) > 1:
        raise Unidentified("show one token, not several")
    return tokens[0] if tokens else ""


class Authorizer:
    """Decides what each call may ask for.

    Args:
        allowances: Who may ask for what; none: everyone for all.
        reviewer: Tells whose a token is; None: tokens are not looked at.
    """

    def __init__(
        self, allowances: Sequence[Allowance] = (), reviewer: CallerTokens | None = None
    ) -> None:
        self._allowances = tuple(allowances)
        self._reviewer = reviewer

    async def grant(self, context: ServicerContext[Request, Response]) -> Grant:
        """Return what the caller of a call may ask for.

        Raises:
            Unidentified: The caller shows nothing, or a token that is not good.
            IdentityUnverified: The token can't be checked now.
        """
        if not self._allowances:
            return EVERYTHING
        caller = certified(context.auth_context())
        token = bearer(context.invocation_metadata() or ()) if self._reviewer else ""
        if self._reviewer and token:
            account = await self._reviewer.review(token, host(context.peer()))
            if account is None:
                raise Unidentified("the token is not good, or not for this audience")
            caller = Caller(caller.certified, caller.spiffe, caller.dns, account)
        return granted(caller, self._allowances)


def _matches_prefix(pattern: str, spiffe: str) -> bool:
    if pattern.endswith("*"):
        return spiffe.startswith(pattern[:-1])
    return spiffe == pattern


def _matches_name(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        label, _, rest = name.partition(".")
        return bool(label) and rest == pattern[2:]
    return name == pattern


def _is_account(pattern: str, account: ServiceAccount) -> bool:
    namespace, _, name = pattern.partition("/")
    return namespace in (ALL, account.namespace) and name in (ALL, account.name)
