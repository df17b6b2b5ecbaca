"""Whether the service could listen on its ports."""

import errno
import os
import socket
from collections.abc import Iterator, Mapping

from lookaside.cli.checks.outcome import Outcome
from lookaside.config import Listen, Settings

_HINTS = {
    errno.EACCES: "ports below 1024 need a privilege; choose one above",
    errno.EADDRNOTAVAIL: "this machine has no such address; :PORT listens on all of its addresses",
}
# As of ::1 where IPv6 is off, though localhost is said to be that too.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_ELSE = "set --listen and --admin"


def look(settings: Settings, taken: str) -> Iterator[Outcome]:
    """Yield for each port whether it can be listened on, by listening for a moment.

    Args:
        settings: What the service would run with.
        taken: The hint for a port that another process listens on.
    """
    hints = {errno.EADDRINUSE: taken, **_HINTS}
    yield _port(f"listen {settings.listen}", settings.listen, hints)
    if settings.admin:
        yield _port(f"admin {settings.admin}", settings.admin, hints)


def _port(check: str, listen: Listen, hints: Mapping[int, str]) -> Outcome:
    try:
        _bind(listen)
    except socket.gaierror as error:
        return Outcome(
            check, "failed", f"{listen.host}: {error.strerror}", "a HOST is one of this machine's"
        )
    except OSError as error:
        said = os.strerror(error.errno).lower() if error.errno else str(error)
        return Outcome(check, "failed", said, hints.get(error.errno or 0, _ELSE))
    return Outcome(check, "ok", "free" if listen.port else "the system chooses a port")


def _bind(listen: Listen) -> None:
    """Listen for a moment, on those addresses of a name that this machine has.

    Raises:
        OSError: It can't be.
    """
    if not listen.host:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        socket.create_server(("", listen.port), family=family, dualstack_ipv6=both).close()
        return
    bound, lacking = False, None
    for family, _, _, _, address in socket.getaddrinfo(
        listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        try:
            socket.create_server(address, family=family).close()
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            lacking = error
        else:
            bound = True
    if lacking and not bound:
        raise lacking
