"""The flags of the commands that run the service, or look at what it would run with."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, cast

import click

from lookaside.config import SETTINGS, Setting, Settings, load

Command = TypeVar("Command", bound=Callable[..., object])


class _WithSettings(Protocol):
    def __call__(self, *args: object, settings: Settings, **rest: object) -> None: ...


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add a flag for each setting, and one for the config file; the command gets `settings`."""

    @functools.wraps(command)
    def with_settings(*args: object, config: Path | None, **given: object) -> None:
        keys = {setting.key for setting in SETTINGS}
        texts = {key: _text(value) for key, value in given.items() if key in keys}
        rest = {key: value for key, value in given.items() if key not in keys}
        settings = load(texts, os.environ, config)
        cast("_WithSettings", command)(*args, settings=settings, **rest)

    with_settings = click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar="LOOKASIDE_CONFIG",
        help="A YAML file with the same settings, named as the flags with _ for -.  "
        "[env: LOOKASIDE_CONFIG]",
    )(with_settings)
    for setting in reversed(SETTINGS):
        with_settings = _option(setting)(with_settings)
    return with_settings


def _option(setting: Setting) -> Callable[[Command], Command]:
    text = f"{setting.help}  [env: {setting.variable}; default: {setting.shown_default}]"
    if setting.metavar == "BOOL":
        pair = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
        return click.option(pair, setting.key, default=None, help=text)
    return click.option(
        setting.flag,
        setting.key,
        type=click.Path() if setting.metavar == "FILE" else None,
        metavar=setting.metavar,
        multiple=setting.many,
        help=text,
    )


def _text(value: object) -> "str | tuple[str, ...] | None":
    if isinstance(value, bool):
        return str(value).lower()
    return cast("str | tuple[str, ...] | None", value)
