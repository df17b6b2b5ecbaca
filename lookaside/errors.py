"""Every error that the service raises on purpose.

- `LookasideError`
    - `ConfigError`: a setting, flag or file is wrong
    - `ListenError`: it can't be listened where it is told to
    - `SourceError`: a source can't be read, or refuses to say
    - `RequestError`: a request can't be answered
        - `InvalidRequest`: it can't be read, or its fields don't go together
        - `InvalidServiceName`: malformed, or names a port that the service has not
        - `AmbiguousPort`: the service has several ports and the name says none
        - `ServiceNotFound`: no source knows the service
        - `ExternalNameService`: the service is a DNS alias and has no endpoints
        - `NotSynced`: nothing is known yet
        - `Unidentified`: the caller shows no identity, or a token that is not good
        - `IdentityUnverified`: the caller's token can't be checked now
        - `NotAllowed`: the caller may not ask for a namespace
        - `TooManyStreams`: as many streams are open as are taken

Errors of other libraries are translated where they enter, with the original as `__cause__`.
"""

_QUOTED = 100


def quoted(text: str) -> str:
    """Return what a caller sent as an error may show it: escaped, and its beginning alone.

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
    """It can't be listened where it is told to: the port is taken, say."""


class SourceError(LookasideError):
    """A source can't be read, or refuses to say."""


class RequestError(LookasideError):
    """A request can't be answered."""


class InvalidRequest(RequestError):
    """A request can't be read, or its fields don't go together."""


class InvalidServiceName(RequestError):
    """The name is malformed, or names a port that the service has not."""


class AmbiguousPort(RequestError):
    """The service has several ports and the name says none."""


class ServiceNotFound(RequestError):
    """No source knows the service."""


class ExternalNameService(RequestError):
    """The service is a DNS alias: it has no endpoints, its clients dial the DNS name."""


class NotSynced(RequestError):
    """Nothing is known yet: the first list of a source is still to come."""


class Unidentified(RequestError):
    """The caller shows no identity, or a token that is not good."""


class IdentityUnverified(RequestError):
    """The caller's token can't be checked now; it may be good."""


class NotAllowed(RequestError):
    """The caller may not ask for a namespace, whatever is in it."""


class TooManyStreams(RequestError):
    """As many streams are open as are taken, in all or from one host."""
