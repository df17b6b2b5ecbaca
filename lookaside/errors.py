"""Every error that the service raises on purpose.

- `LookasideError`
    - `ConfigError`: a setting, flag or file is wrong
    - `ListenError`: an address can't be listened on
    - `SourceError`: a source can't be read, or refuses
    - `RequestError`: a request can't be answered
        - `InvalidRequest`: it can't be read, or its fields don't go together
        - `InvalidServiceName`: malformed, or names a port that the service doesn't have
        - `AmbiguousPort`: the service has several ports and the name says none
        - `ServiceNotFound`: no source knows the service
        - `ExternalNameService`: the service is a DNS alias and has no endpoints
        - `NotSynced`: nothing is known yet
        - `Unidentified`: the caller has no identity, or an invalid token
        - `IdentityUnverified`: the caller's token can't be checked now
        - `NotAllowed`: the caller may not query a namespace
        - `TooManyStreams`: too many streams are open
        - `TooManyNames`: an xDS stream asks for too many names

Errors of other libraries are translated where they enter, with the original as `__cause__`.
"""

_QUOTED = 100


def quoted(text: str) -> str:
    """Return a caller's text for an error: escaped, and shortened.

    A status is sent in the trailing metadata; clients accept 8 KiB of it by default.
    """
    return repr(text) if len(text) <= _QUOTED else f"{text[:_QUOTED]!r}... ({len(text)} characters)"


def shortened(text: str) -> str:
    """Return the same without quotation marks, for names within a sentence."""
    return repr(text[:_QUOTED])[1:-1] + ("..." if len(text) > _QUOTED else "")


class LookasideError(Exception):
    """Base of all errors here. Its text is one sentence that a user can act on."""


class ConfigError(LookasideError):
    """A setting, flag or file is wrong."""


class ListenError(LookasideError):
    """An address can't be listened on, for example because the port is taken."""


class SourceError(LookasideError):
    """A source can't be read, or refuses."""


class RequestError(LookasideError):
    """A request can't be answered."""


class InvalidRequest(RequestError):
    """A request can't be read, or its fields don't go together."""


class InvalidServiceName(RequestError):
    """The name is malformed, or names a port that the service doesn't have."""


class AmbiguousPort(RequestError):
    """The service has several ports and the name says none."""


class ServiceNotFound(RequestError):
    """No source knows the service."""


class ExternalNameService(RequestError):
    """The service is a DNS alias: it has no endpoints, its clients dial the DNS name."""


class NotSynced(RequestError):
    """Nothing is known yet: the first list of a source is still to come."""


class Unidentified(RequestError):
    """The caller has no identity, or an invalid token."""


class IdentityUnverified(RequestError):
    """The caller's token can't be checked now; it may be valid."""


class NotAllowed(RequestError):
    """The caller may not query a namespace, whatever is in it."""


class TooManyStreams(RequestError):
    """Too many streams are open, in total or from one host."""


class TooManyNames(RequestError):
    """Too many names are asked for by xDS, in total or on one stream."""
