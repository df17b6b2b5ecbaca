"""`lookaside serve`: the service itself."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from lookaside.config import SETTINGS, Setting, load

Command = TypeVar("Command", bound=Callable[..., object])


def _option(setting: Setting) -> Callable[[Command], Command]:
    text = f"{setting.help}  [env: {setting.variable}; default: {setting.shown_default}]"
    if setting.metavar == "BOOL":
        pair = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
        return click.option(pair, setting.key, default=None, help=text)
    return click.option(
        setting.flag, setting.key, metavar=setting.metavar, multiple=setting.many, help=text
    )


def _all_settings(command: Command) -> Command:
    for setting in reversed(SETTINGS):
        command = _option(setting)(command)
    return command


@click.command()
@_all_settings
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    envvar="LOOKASIDE_CONFIG",
    help="A YAML file with the same settings, named as the flags with _ for -.  "
    "[env: LOOKASIDE_CONFIG]",
)
def serve(*, config: Path | None, **flags: str | bool | Sequence[str] | None) -> None:
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
    texts = {
        key: str(value).lower() if isinstance(value, bool) else value
        for key, value in flags.items()
    }
    settings = load(texts, os.environ, config)
    from lookaside import app  # noqa: PLC0415 - the other commands do without its imports

    app.run(settings)
