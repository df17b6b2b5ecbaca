"""`lookaside serve`: run the service."""

import click

from lookaside.cli.checks import ports
from lookaside.cli.commands.service_options import settings_options
from lookaside.config import Settings
from lookaside.errors import ListenError


@click.command()
@settings_options
def serve(*, settings: Settings) -> None:
    """Serve lists of backends over gRPC.

    The command line wins, then the environment, then the config file. A DURATION is in seconds, or
    has a unit, as in 500ms, 30s, 5m or 1h.

    Without --allow, any caller may query any service. Its IDENTITY is spiffe://TRUST_DOMAIN/PATH (a
    * at the end matches any rest) or dns:NAME (*.NAME: one more label) of a client certificate,
    which --tls-client-ca requests; serviceaccount:NAMESPACE/NAME (* for any) of a Kubernetes token,
    which --token-audience enables; or * for any caller with either. Its NAMESPACE may be * for all,
    or . for the ServiceAccount's own. A watch is checked when it starts: it outlasts a revoked
    right by --max-watch-age at most.
    """
    from lookaside import app  # noqa: PLC0415 - the other commands do without its imports

    # Checked here, because gRPC's core would report it without the cause.
    for outcome in ports.look(settings, "another process listens there"):
        if outcome.result == "failed":
            raise ListenError(f"{outcome.check}: {outcome.says}; {outcome.hint}")
    app.run(settings)
