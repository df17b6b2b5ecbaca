"""`lookaside serve`: the service itself."""

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

    Everyone may ask for every service until --allow says who may ask for what. Its IDENTITY is
    spiffe://TRUST_DOMAIN/PATH (a * at the end: all that begin so) or dns:NAME (*.NAME: one label
    more) of a client's certificate, which --tls-client-ca asks for; serviceaccount:NAMESPACE/NAME
    (* for any) of a Kubernetes token, which --token-audience has checked; or * for anyone who shows
    either. Its NAMESPACE may be * for all, or . for the ServiceAccount's own. A watch is checked
    when it begins: it outlasts a right that was taken away by --max-watch-age at most.
    """
    from lookaside import app  # noqa: PLC0415 - the other commands do without its imports

    # Here, because gRPC's core would tell of it in words of its own, and without the cause.
    for outcome in ports.look(settings, "another process listens there"):
        if outcome.result == "failed":
            raise ListenError(f"{outcome.check}: {outcome.says}; {outcome.hint}")
    app.run(settings)
