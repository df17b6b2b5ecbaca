"""The flags of the commands that query a balancer."""

import copy
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar, cast

import click

from lookaside.cli.balancer.client import Address, Asker
from lookaside.cli.balancer.tls import credentials, trusting
from lookaside.config import values

DEFAULT_ADDRESS = "localhost:50052"

# How long a command waits that has no --timeout.
_SECONDS = 10.0

# The schemes of https://github.com/grpc/grpc/blob/master/doc/naming.md, but for those of sockets.
_OF_GRPC = re.compile(r"(?:dns|ipv4|ipv6|vsock):.")
_HOST_PORT = re.compile(r"(?!unix:).+:[0-9]+")

Command = TypeVar("Command", bound=Callable[..., object])


Value = TypeVar("Value")


class Read(click.ParamType[Value]):
    """A parameter type that uses a parser of the settings.

    Args:
        parse: Raises ValueError with what is expected.
    """

    name = "value"

    def __init__(self, parse: Callable[[str], Value]) -> None:
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Value:
        """Return the value."""
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: expected {error}", param, ctx)


class Grpcurl(click.Option):
    """A flag that grpcurl has too: it is taken with one dash as well, as grpcurl writes it."""

    def add_to_parser(self, parser: "click.parser._OptionParser", ctx: click.Context) -> None:
        """Register the flag, with two dashes and with one."""
        super().add_to_parser(parser, ctx)
        alias = copy.copy(self)
        alias.opts = [flag.removeprefix("-") for flag in self.opts]
        super(Grpcurl, alias).add_to_parser(parser, ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dialing:
    """The flags about how to reach the balancer, as they were given."""

    address: str = DEFAULT_ADDRESS
    plaintext: bool = False
    tls: bool = False
    insecure: bool = False
    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    authority: str = ""
    servername: str = ""
    token_file: Path | None = None
    insecure_token: bool = False

    def check(self) -> None:
        """Check what holds between them.

        Raises:
            click.UsageError: Two don't go together.
        """
        about_tls = (self.tls, self.insecure, self.cacert, self.cert, self.key, self.servername)
        if self.plaintext and any(about_tls):
            raise click.UsageError(
                "--plaintext doesn't go with --tls, --insecure, --cacert, --cert, --key or "
                "--servername, which are about TLS"
            )
        if self.insecure and (self.cacert or self.servername):
            raise click.UsageError(
                "--insecure doesn't go with --cacert or --servername: it trusts any certificate"
            )
        if (self.cert is None) != (self.key is None):
            raise click.UsageError("--cert and --key go together")
        if self.authority and self.servername not in ("", self.authority):
            raise click.UsageError("--authority and --servername differ; expected one name")
        if self.token_file and not self.insecure_token and not self._uses_tls:
            raise click.UsageError(
                "--token-file would be sent in plain text: use TLS, by --tls, --cacert or "
                "--insecure, or give --insecure-token"
            )

    @property
    def _uses_tls(self) -> bool:
        return bool(self.tls or self.insecure or self.cacert or self.cert or self.servername)

    def resolve(self, seconds: float) -> Address:
        """Return how to reach the balancer.

        Args:
            seconds: How long it may take to see its certificate.

        Raises:
            ConfigError: A certificate's file can't be used.
            click.ClickException: The balancer shows no certificate in time.
        """
        target, name, secure = _target(self.address), self.servername, None
        if self.insecure:
            if not _HOST_PORT.fullmatch(target):
                raise click.UsageError("--insecure needs an --address of the form HOST:PORT")
            secure, name = trusting(target, self.cert, self.key, seconds)
        elif self._uses_tls:
            secure = credentials(self.cacert, self.cert, self.key)
        return Address(target, secure, self.authority, name, self.token_file)


def address_of(given: Mapping[str, object], seconds: float) -> Address:
    """Return how to reach the balancer by flags of any command; those not given are None.

    Args:
        given: The flags.
        seconds: How long it may take to see the balancer's certificate, where that is needed.

    Raises:
        click.ClickException: Two don't go together, or the balancer shows no certificate.
        ConfigError: A certificate's file can't be used.
    """
    names = {field.name for field in fields(_Dialing)}
    known = {name: value for name, value in given.items() if name in names and value is not None}
    dialing = cast("Callable[..., _Dialing]", _Dialing)(**known)
    dialing.check()
    return dialing.resolve(seconds)


def balancer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that say how to reach the balancer; the command gets them as `balancer`."""

    @functools.wraps(command)
    def with_balancer(*args: object, **given: object) -> None:
        names = {field.name for field in fields(_Dialing)}
        rest = {name: value for name, value in given.items() if name not in names}
        seconds = cast("float", given.get("timeout", _SECONDS))
        command(*args, balancer=address_of(given, seconds), **rest)

    for option in reversed(_BALANCER):
        with_balancer = option(with_balancer)
    return with_balancer


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_BALANCER = (
    click.option(
        "--address",
        metavar="HOST:PORT",
        envvar="LOOKASIDE_ADDRESS",
        default=DEFAULT_ADDRESS,
        show_default=True,
        show_envvar=True,
        help="The address of the balancer.",
    ),
    click.option(
        "--plaintext",
        cls=Grpcurl,
        is_flag=True,
        help="Use no TLS.  [default, unless one of the following is given]",
    ),
    click.option("--tls", is_flag=True, help="Use TLS, and trust the system's authorities."),
    click.option(
        "--insecure",
        cls=Grpcurl,
        is_flag=True,
        help="Use TLS, and trust any certificate that the balancer presents at the start.",
    ),
    click.option(
        "--cacert", cls=Grpcurl, type=_FILE, help="Use TLS, and trust these authorities, PEM."
    ),
    click.option(
        "--cert", cls=Grpcurl, type=_FILE, help="Use TLS, and present this client certificate, PEM."
    ),
    click.option(
        "--key", cls=Grpcurl, type=_FILE, help="The private key of the client certificate, PEM."
    ),
    click.option(
        "--authority",
        cls=Grpcurl,
        metavar="NAME",
        default="",
        help="The authority of calls, and the name that the certificate must have.  [default: the "
        "host of the address]",
    ),
    click.option(
        "--servername",
        cls=Grpcurl,
        metavar="NAME",
        default="",
        help="Use TLS; the name that the certificate must have, if it is not the authority.",
    ),
    click.option(
        "--token-file",
        type=_FILE,
        envvar="LOOKASIDE_TOKEN_FILE",
        show_envvar=True,
        help="Authenticate with the Kubernetes token in this file.",
    ),
    click.option(
        "--insecure-token",
        is_flag=True,
        help="Send the token without TLS as well, in plain text.",
    ),
)


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
        click.option("--zone", default="", help="Query as a client in this zone."),
        click.option("--node", default="", help="Query as a client on this node."),
        click.option("--client-id", default="", metavar="NAME", help="Query as this client."),
        click.option(
            "--subset-size",
            type=click.IntRange(0, 2**32 - 1),
            default=0,
            metavar="NUMBER",
            help="Query the client's subset of this size.",
        ),
    )
    for option in reversed(options):
        with_asker = option(with_asker)
    return with_asker


def _target(address: str) -> str:
    if address.startswith(("unix:", "unix-abstract:")):
        return address
    try:
        listen = values.listen(address)
    except ValueError as error:
        if _OF_GRPC.match(address):
            return address
        raise click.UsageError(
            f"--address {address!r}: expected one HOST:PORT, such as {DEFAULT_ADDRESS}"
        ) from error
    return str(listen) if listen.host else f"localhost:{listen.port}"


def timeout_option(command: Command) -> Command:
    """Add the flag for how long an answer may take."""
    return click.option(
        "--timeout",
        type=Read(values.positive),
        metavar="DURATION",
        default="10s",
        show_default=True,
        help="Timeout of the query.",
    )(command)


def output_option(*formats: str) -> Callable[[Command], Command]:
    """Add the flag for the form of what is printed."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Output format.",
    )
