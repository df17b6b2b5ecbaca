"""`lookaside xds-bootstrap`: the file by which stock gRPC clients and Envoy find the balancer."""

import socket
from pathlib import Path

import click

from lookaside.cli.commands.options import DEFAULT_ADDRESS, Read
from lookaside.cli.render.bootstrap import Bootstrap
from lookaside.cli.render.output import document

_FILE = click.Path(dir_okay=False, path_type=Path)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not _is_port(port):
        raise ValueError("HOST:PORT, as the client reaches the balancer")
    return host.strip("[]"), int(port)


def _listener(text: str) -> tuple[str, int]:
    port, _, service = text.partition("=")
    if not service or not _is_port(port):
        raise ValueError("PORT=SERVICE, as in 15001=greeter.shop")
    return service, int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65536


@click.command("xds-bootstrap", short_help="Print the bootstrap file of an xDS client.")
@click.option(
    "--kind",
    type=click.Choice(["grpc", "envoy"]),
    default="grpc",
    show_default=True,
    help="Whose the file is.",
)
@click.option(
    "--address",
    type=Read(_address),
    metavar="HOST:PORT",
    envvar="LOOKASIDE_ADDRESS",
    default=DEFAULT_ADDRESS,
    show_default=True,
    show_envvar=True,
    help="Where the balancer is, as the client reaches it.",
)
@click.option("--tls", is_flag=True, help="Use TLS, and trust the system's authorities.")
@click.option("--cacert", type=_FILE, help="Use TLS, and trust these authorities, PEM.")
@click.option("--cert", type=_FILE, help="Use TLS, and show this client certificate, PEM.")
@click.option("--key", type=_FILE, help="The private key of the client certificate, PEM.")
@click.option(
    "--token-file",
    type=_FILE,
    help="Show the Kubernetes token in this file. For gRPC alone, and with TLS.",
)
@click.option(
    "--id", "name", metavar="NAME", help="What the client is called.  [default: the host]"
)
@click.option(
    "--zone",
    metavar="ZONE",
    envvar="LOOKASIDE_ZONE",
    show_envvar=True,
    default="",
    help="The zone that the client runs in.",
)
@click.option(
    "--node",
    metavar="NODE",
    envvar="LOOKASIDE_NODE",
    show_envvar=True,
    default="",
    help="The Kubernetes node that the client runs on.",
)
@click.option(
    "--listen",
    "listeners",
    type=Read(_listener),
    metavar="PORT=SERVICE",
    multiple=True,
    help="Have Envoy listen on this port of 127.0.0.1 for SERVICE. May be given several times.",
)
def xds_bootstrap(
    *,
    kind: str,
    address: tuple[str, int],
    tls: bool,
    cacert: Path | None,
    cert: Path | None,
    key: Path | None,
    token_file: Path | None,
    name: str | None,
    zone: str,
    node: str,
    listeners: tuple[tuple[str, int], ...],
) -> None:
    r"""Print the bootstrap file by which a gRPC client or an Envoy finds the balancer.

    The files that it names are those of the machine on which the client runs; they need not be
    here. A gRPC client reads it where GRPC_XDS_BOOTSTRAP says, and then dials xds:///SERVICE.

    \b
      lookaside xds-bootstrap --address lookaside.infra:50052 > bootstrap.json
      lookaside xds-bootstrap --kind envoy --listen 15001=greeter.shop > envoy.yaml
    """
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    secure = tls or bool(cacert or cert)
    if token_file and not secure:
        raise click.UsageError("--token-file needs TLS: a token is not shown in plain text")
    if token_file and kind == "envoy":
        raise click.UsageError(
            "--token-file is for gRPC: show Envoy's identity by --cert and --key"
        )
    if bool(listeners) != (kind == "envoy"):
        raise click.UsageError("--listen is what Envoy needs, and no gRPC client")
    host, port = address
    made = Bootstrap(
        host=host,
        port=port,
        tls=secure,
        cacert=cacert,
        cert=cert,
        key=key,
        token_file=token_file,
        name=name or socket.gethostname(),
        zone=zone,
        node=node,
        listeners=dict(listeners),
    )
    if kind == "envoy":
        click.echo(document(made.envoy(), "yaml"))
    else:
        click.echo(document(made.grpc(), "json"))
