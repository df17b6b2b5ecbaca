"""Kubeconfig files as kubectl reads them. Pure: files come in as texts, paths go out as texts.

Merging, precedence and paths are those of client-go's tools/clientcmd (`loader.go`,
`client_config.go`). What kubectl ignores is ignored here, including unknown keys.
"""

import os.path
from collections.abc import Mapping, Sequence

from msgspec import Struct

from lookaside.config import document
from lookaside.config.document import Scalar, Table
from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api import kubeconfig_fields as fields
from lookaside.sources.kubernetes.api.kubeconfig_entries import (
    Cluster,
    Entry,
    User,
    read_cluster,
    read_user,
    refuse_merge_key,
)


class Config(Struct, frozen=True):
    """The contents of one kubeconfig or several; entries are read when they are selected."""

    current_context: str = ""
    contexts: Mapping[str, Entry] = {}
    clusters: Mapping[str, Entry] = {}
    users: Mapping[str, Entry] = {}

    def __bool__(self) -> bool:
        return bool(self.current_context or self.contexts or self.clusters or self.users)


def parse(text: str, path: str) -> Config:
    """Read one file.

    Args:
        text: What it holds.
        path: Where it is: relative paths in it start from its directory.

    Raises:
        ConfigError: It is not a kubeconfig; the text says where.
    """
    root = document.read(text, path)
    if root is None or (isinstance(root, Scalar) and root.is_null):
        return Config()
    if not isinstance(root, Table):
        raise root.place.error("this is not a kubeconfig: expected a mapping")
    for key, value in (("kind", "Config"), ("apiVersion", "v1")):
        if fields.text(root, key) not in ("", value):
            raise root.values[key].place.error(f"this is not a kubeconfig: its {key} isn't {value}")
    directory = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - texts, no files
    return Config(
        fields.text(root, "current-context"),
        _entries(root, "contexts", "context", directory),
        _entries(root, "clusters", "cluster", directory),
        _entries(root, "users", "user", directory),
    )


def merge(configs: Sequence[Config]) -> Config:
    """Put several files together: of each entry, and of `current-context`, the first there is."""
    merged = Config()
    for config in configs:
        merged = Config(
            merged.current_context or config.current_context,
            {**config.contexts, **merged.contexts},
            {**config.clusters, **merged.clusters},
            {**config.users, **merged.users},
        )
    return merged


def select(config: Config, context: str | None) -> tuple[Cluster, User]:
    """Return the cluster and the user of a context.

    Args:
        config: All that is known.
        context: Its name; None: the current one.

    Raises:
        ConfigError: There is none, it lacks something, or uses what is not supported.
    """
    name = context or config.current_context
    known = ", ".join(sorted(config.contexts)) or "none"
    if not name:
        raise ConfigError(f"no current-context is set; --context names one of: {known}")
    if name not in config.contexts:
        raise ConfigError(f"the context {name!r} does not exist; those there are: {known}")
    chosen = config.contexts[name]
    refuse_merge_key(chosen)
    cluster, user = fields.text(chosen.table, "cluster"), fields.text(chosen.table, "user")
    if cluster not in config.clusters:
        raise chosen.table.place.error(f"the cluster {cluster!r} does not exist")
    if user and user not in config.users:
        raise chosen.table.place.error(f"the user {user!r} does not exist")
    return read_cluster(config.clusters[cluster]), read_user(config.users[user]) if user else User()


def _entries(root: Table, key: str, inner: str, directory: str) -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    for item in fields.items(root, key):
        if not isinstance(item, Table):
            raise item.place.error(f"expected a mapping with name and {inner}")
        name = fields.text(item, "name")
        if name in found:
            raise item.place.error(f"a second entry of the name {name!r} in {key}")
        found[name] = Entry(fields.child(item, inner, Table) or Table(item.place), directory)
    return found
