"""The flags that commands which ask a balancer share."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from lookaside.cli.client import Address, Asker, credentials
from lookaside.config import values

DEFAULT_ADDRESS = "localhost:50052"

Command = TypeVar("Command", bound=Callable[..., object])


class Duration(click.ParamType[float]):
    """A length of time, in seconds or with a unit."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        try:
            return values.positive(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: expected {error}", param, ctx)


def balancer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that say how to reach the balancer; the command gets them as `balancer`."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)

    @functools.wraps(command)
    def with_balancer(
        *args: object,
        address: str,
        tls: bool | None,
        cacert: Path | None,
        cert: Path | None,
        key: Path | None,
        authority: str,
        token_file: Path | None,
        **rest: object,
    ) -> None:
        wants_tls = bool(cacert or cert or key)
        if tls is False and wants_tls:
            raise click.UsageError("--plaintext doesn't go with --cacert, --cert or --key")
        if (cert is None) != (key is None):
            raise click.UsageError("--cert and --key go together")
        secure = credentials(cacert, cert, key) if tls or wants_tls else None
        balancer = Address(_target(address), secure, authority, token_file)
        command(*args, balancer=balancer, **rest)

    options = (
        click.option(
            "--address",
            metavar="HOST:PORT",
            envvar="LOOKASIDE_ADDRESS",
            default=DEFAULT_ADDRESS,
            show_default=True,
            show_envvar=True,
            help="Where the balancer is.",
        ),
        click.option(
            "--tls/--plaintext",
            default=None,
            help="Use TLS.  [default: plaintext; TLS where one of the next is given]",
        ),
        click.option(
            "--cacert", type=file, help="Trust these authorities, PEM.  [default: the system's]"
        ),
        click.option("--cert", type=file, help="Show this client certificate, PEM."),
        click.option("--key", type=file, help="The private key of the client certificate, PEM."),
        click.option("--authority", default="", help="The name that the certificate must bear."),
        click.option(
            "--token-file",
            type=file,
            envvar="LOOKASIDE_TOKEN_FILE",
            show_envvar=True,
            help="Show the Kubernetes token in this file.",
        ),
    )
    for option in reversed(options):
        with_balancer = option(with_balancer)
    return with_balancer


def asker_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that say whose list is meant; the command gets them as `asker`."""

    @functools.wraps(command)
    def with_asker(
        *args: object, zone: str, node: str, client_id: str, subset_size: int, **rest: object
    ) -> None:
        if subset_size and not client_id:
            raise click.UsageError("--subset-size needs --client-id: a subset is a client's own")
        command(*args, asker=Asker(zone, node, client_id, subset_size), **rest)

    options = (
        click.option("--zone", default="", help="Ask as a client in this zone."),
        click.option("--node", default="", help="Ask as a client on this node."),
        click.option("--client-id", default="", metavar="NAME", help="Ask as this client."),
        click.option(
            "--subset-size",
            type=click.IntRange(0, 2**32 - 1),
            default=0,
            metavar="NUMBER",
            help="Ask for the client's subset of so many endpoints.",
        ),
    )
    for option in reversed(options):
        with_asker = option(with_asker)
    return with_asker


def _target(address: str) -> str:
    if "://" in address or address.startswith("unix:"):
        return address
    try:
        listen = values.listen(address)
    except ValueError as error:
        raise click.UsageError(
            f"--address {address!r}: expected HOST:PORT, such as {DEFAULT_ADDRESS}"
        ) from error
    return str(listen) if listen.host else f"localhost:{listen.port}"


def timeout_option(command: Command) -> Command:
    """Add the flag for how long an answer may take."""
    return click.option(
        "--timeout",
        type=Duration(),
        default="10s",
        show_default=True,
        help="How long the answer may take.",
    )(command)


def output_option(*formats: str) -> Callable[[Command], Command]:
    """Add the flag for the form of what is printed."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="The form of the output.",
    )
