"""Making the settings of the command line, the environment and the config file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lookaside.config import document
from lookaside.config.settings import SETTINGS, Setting, Settings
from lookaside.config.values import readable
from lookaside.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Given:
    """The text of a setting, and where it stands."""

    where: str
    text: str


def load(
    flags: Mapping[str, str | Sequence[str] | None],
    environ: Mapping[str, str],
    file: Path | None = None,
) -> Settings:
    """Make the settings: the command line wins, then the environment, then the file.

    An empty variable counts as unset. A setting that may be given several times is not merged: the
    first of the three that has it gives all of it; in a variable spaces stand between, or commas
    where a value can't have any.

    Args:
        flags: What the command line gave, by `Setting.key`; None or () where it gave nothing.
        environ: The environment variables.
        file: The config file; None for none.

    Raises:
        ConfigError: The file can't be read, a value is wrong, or two don't go together. The text
            names the flag, the variable, or the file, line and key.
    """
    in_file = _read_file(file) if file else {}
    values: dict[str, object] = {}
    for setting in SETTINGS:
        given = (
            _from_flag(setting, flags.get(setting.key))
            or _from_variable(setting, environ.get(setting.variable, ""))
            or in_file.get(setting.key, [])
        )
        if given:
            parsed = [_parse(setting, each) for each in given]
            values[setting.field] = tuple(parsed) if setting.many else parsed[-1]
    return cast("Callable[..., Settings]", Settings)(**values)


def _parse(setting: Setting, given: _Given) -> object:
    try:
        return setting.parse(readable(given.text))
    except ValueError as error:
        raise ConfigError(f"{given.where} {given.text!r}: expected {error}") from error


def _from_flag(setting: Setting, value: str | Sequence[str] | None) -> list[_Given]:
    if value is None:
        return []
    return [_Given(setting.flag, text) for text in ([value] if isinstance(value, str) else value)]


def _from_variable(setting: Setting, value: str) -> list[_Given]:
    if not value.strip():
        return []
    texts = [value.strip()]
    if setting.many:
        texts = (value if setting.pairs else value.replace(",", " ")).split()
    return [_Given(setting.variable, text) for text in texts]


def _read_file(path: Path) -> dict[str, list[_Given]]:
    root = document.read(document.load(path, "the config file"), str(path))
    if root is None or (isinstance(root, document.Scalar) and root.is_null):
        return {}
    if not isinstance(root, document.Table):
        raise root.place.error(f"{document.describe(root)}; expected settings as KEY: VALUE")
    known = {setting.key: setting for setting in SETTINGS}
    root.refuse_unknown(known, "setting")
    return {key: _from_node(known[key], node) for key, node in root.values.items()}


def _from_node(setting: Setting, node: document.Node) -> list[_Given]:
    if setting.many and isinstance(node, document.Items):
        return [each for value in node.values for each in _from_node(setting, value)]
    if setting.pairs and isinstance(node, document.Table):
        return [_from_pair(setting, key, value) for key, value in node.values.items()]
    if not isinstance(node, document.Scalar):
        raise node.place.error(
            f"{setting.key}: {document.describe(node)}; expected {setting.metavar}"
        )
    return [] if node.is_null else [_Given(f"{node.place}: {setting.key}", node.text)]


def _from_pair(setting: Setting, key: str, node: document.Node) -> _Given:
    values = node.values if isinstance(node, document.Items) else [node]
    texts = [each.text for each in values if isinstance(each, document.Scalar)]
    if len(texts) < len(values):
        raise node.place.error(f"{setting.key}: {key}: expected a list of names")
    return _Given(f"{node.place}: {setting.key}", f"{key}={','.join(texts)}")
