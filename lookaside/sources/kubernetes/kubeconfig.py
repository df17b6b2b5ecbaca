"""Kubeconfig files as kubectl reads them. Pure: files come in as texts, paths go out as texts.

Merging, precedence and paths are those of client-go's tools/clientcmd (`loader.go`,
`client_config.go`, `validation.go`). What kubectl passes over is passed over here, unknown keys
among it; what it uses and is not supported here is refused.
"""

import base64
import binascii
import json
import os.path
import re
import string
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from msgspec import Struct

from lookaside.config import document
from lookaside.config.document import Items, Node, Scalar, Table
from lookaside.errors import ConfigError

# Where a cluster's part for an exec plugin stands among its extensions.
_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
# As YAML 1.1 has it, which kubectl reads.
_TRUE = frozenset(
    form(word) for word in ("y", "yes", "true", "on") for form in (str, str.title, str.upper)
)
_FALSE = frozenset(
    form(word) for word in ("n", "no", "false", "off") for form in (str, str.title, str.upper)
)
_NUMBER = re.compile(
    r"[-+]?(\.\d[\d_]*|\d[\d_]*(\.[\d_]*)?)([eE][-+]?\d+)?|0x[\da-fA-F_]+|0b[01_]+|0o[0-7_]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_HEADER_BYTES = frozenset((string.ascii_letters + string.digits + "!#$&'*+-.^_`|~").encode())

_N = TypeVar("_N", Items, Table)


class Pem(Struct, frozen=True):
    """A certificate or a key: its text, or the path of the file that has it."""

    data: bytes = b""
    path: str = ""

    def __bool__(self) -> bool:
        return bool(self.data or self.path)

    def __repr__(self) -> str:
        return f"Pem({self.path!r})"


class Cluster(Struct, frozen=True):
    """A cluster; https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/#Cluster.

    Attributes:
        server: The URL as it stands there, perhaps with a user, perhaps without a scheme.
        ca: Its authorities.
        insecure: Its certificate is not checked.
        tls_server_name: The name in its certificate; "": the server's.
        proxy_url: The proxy; "": as the environment says.
        compression: Answers may be compressed.
        exec_config: What an exec plugin is told of it: a JSON value.
    """

    server: str
    ca: Pem = Pem()
    insecure: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    compression: bool = True
    exec_config: object = None


class Exec(Struct, frozen=True):
    """An exec plugin; https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/#ExecConfig.

    Attributes:
        command: The program: a path, or a name that is looked up in PATH.
        args: Its arguments.
        env: What is added to its environment.
        api_version: The version of its answer.
        install_hint: What is said where it is missing.
        provide_cluster_info: It is told of the cluster.
    """

    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    api_version: str
    install_hint: str
    provide_cluster_info: bool


class User(Struct, frozen=True):
    """A user; https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/#AuthInfo.

    Attributes:
        certificate: The client's certificate.
        key: Its key.
        token: A bearer token.
        token_file: The file of a bearer token, which goes before `token`.
        username: The name for HTTP's basic authentication.
        password: Its password.
        plugin: Asked for a token or a certificate where none of the above is given.
        impersonation: Whom to act as: headers.
    """

    certificate: Pem = Pem()
    key: Pem = Pem()
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    plugin: Exec | None = None
    impersonation: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return "User(…)"


class Config(Struct, frozen=True):
    """What one file holds, or several together; entries are read when they are selected."""

    current_context: str = ""
    contexts: Mapping[str, "Entry"] = {}
    clusters: Mapping[str, "Entry"] = {}
    users: Mapping[str, "Entry"] = {}

    def __bool__(self) -> bool:
        return bool(self.current_context or self.contexts or self.clusters or self.users)


class Entry(Struct, frozen=True):
    """An entry of a file, and the directory that its relative paths start from."""

    table: Table
    directory: str


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
        if _text(root, key) not in ("", value):
            raise root.values[key].place.error(f"this is not a kubeconfig: its {key} isn't {value}")
    directory = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - texts, no files
    return Config(
        _text(root, "current-context"),
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
    _refuse_merge_key(chosen)
    cluster, user = _text(chosen.table, "cluster"), _text(chosen.table, "user")
    if cluster not in config.clusters:
        raise chosen.table.place.error(f"the cluster {cluster!r} does not exist")
    if user and user not in config.users:
        raise chosen.table.place.error(f"the user {user!r} does not exist")
    return _cluster(config.clusters[cluster]), _user(config.users[user]) if user else User()


def _refuse_merge_key(entry: Entry) -> None:
    if "<<" in entry.table.values:
        raise entry.table.places["<<"].error("the merge key << is not supported")


def _cluster(entry: Entry) -> Cluster:
    _refuse_merge_key(entry)
    table = entry.table
    server, ca = _text(table, "server"), _pem(entry, "certificate-authority")
    insecure = _flag(table, "insecure-skip-tls-verify")
    if not server:
        raise table.place.error("the cluster has no server")
    if ca and insecure:
        raise table.place.error(
            "certificate-authority and insecure-skip-tls-verify exclude each other"
        )
    return Cluster(
        server,
        ca,
        insecure,
        _text(table, "tls-server-name"),
        _text(table, "proxy-url"),
        not _flag(table, "disable-compression"),
        _exec_config(table),
    )


def _user(entry: Entry) -> User:
    _refuse_merge_key(entry)
    table = entry.table
    if not _absent(table, "auth-provider"):
        raise table.places["auth-provider"].error(
            "auth-provider is not supported; an exec plugin does the same"
        )
    certificate, key = _pem(entry, "client-certificate"), _pem(entry, "client-key")
    if certificate and not key:
        raise table.place.error("client-certificate has no client-key")
    user = User(
        certificate,
        key,
        _text(table, "token"),
        _path(entry, "tokenFile"),
        _text(table, "username"),
        _text(table, "password"),
        _exec(entry),
        _impersonation(table),
    )
    if (user.token or user.token_file) and (user.username or user.password):
        raise table.place.error("a token and username or password exclude each other")
    return user


def _impersonation(table: Table) -> tuple[tuple[str, str], ...]:
    # https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    name, uid, groups = _text(table, "as"), _text(table, "as-uid"), _texts(table, "as-groups")
    extra = _child(table, "as-user-extra", Table)
    values = [(key, value) for key in extra.values for value in _texts(extra, key)] if extra else []
    if not name:
        if uid or groups or values:
            raise table.place.error("as-uid, as-groups and as-user-extra need as")
        return ()
    return (
        ("Impersonate-User", name),
        *((("Impersonate-Uid", uid),) if uid else ()),
        *(("Impersonate-Group", group) for group in groups),
        *((f"Impersonate-Extra-{_header(key)}", value) for key, value in values),
    )


def _header(key: str) -> str:
    """Escape what can't stand in a header's name, as the API server unescapes it."""
    return "".join(chr(byte) if byte in _HEADER_BYTES else f"%{byte:02X}" for byte in key.encode())


def _exec(entry: Entry) -> Exec | None:
    table = _child(entry.table, "exec", Table)
    if table is None:
        return None
    command, version = _text(table, "command"), _text(table, "apiVersion")
    if not command:
        raise table.place.error("exec has no command")
    if version not in ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"):
        raise table.place.error(
            f"the apiVersion of exec is {version!r}; expected client.authentication.k8s.io/v1 or "
            "client.authentication.k8s.io/v1beta1"
        )
    mode = _text(table, "interactiveMode")
    if mode == "Always":
        raise table.place.error(
            "interactiveMode is Always; a plugin that needs a terminal is not supported"
        )
    if mode not in ("Never", "IfAvailable") and (mode or version.endswith("/v1")):
        raise table.place.error(
            f"interactiveMode is {mode!r}; expected Never, IfAvailable or Always"
        )
    return Exec(
        _resolved(command, entry.directory) if "/" in command else command,
        _texts(table, "args"),
        _variables(table),
        version,
        _text(table, "installHint"),
        _flag(table, "provideClusterInfo"),
    )


def _variables(table: Table) -> tuple[tuple[str, str], ...]:
    found = []
    for item in _items(table, "env"):
        if not isinstance(item, Table) or not _text(item, "name"):
            raise item.place.error("expected a mapping with name and value")
        found.append((_text(item, "name"), _text(item, "value")))
    return tuple(found)


def _exec_config(table: Table) -> object:
    for item in _items(table, "extensions"):
        if isinstance(item, Table) and _text(item, "name") == _EXEC_EXTENSION:
            return _json(item.values.get("extension"))
    return None


def _json(node: Node | None) -> object:
    """Return the JSON value that YAML's node stands for."""
    if isinstance(node, Table):
        return {key: _json(value) for key, value in node.values.items()}
    if isinstance(node, Items):
        return [_json(value) for value in node.values]
    if node is None or node.is_null:
        return None
    if node.plain:
        try:
            return cast("object", json.loads(node.text))
        except ValueError:
            pass
    return node.text


def _entries(root: Table, key: str, inner: str, directory: str) -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    for item in _items(root, key):
        if not isinstance(item, Table):
            raise item.place.error(f"expected a mapping with name and {inner}")
        name = _text(item, "name")
        if name in found:
            raise item.place.error(f"a second entry of the name {name!r} in {key}")
        found[name] = Entry(_child(item, inner, Table) or Table(item.place), directory)
    return found


def _pem(entry: Entry, key: str) -> Pem:
    data = _data(entry.table, f"{key}-data")
    path = _path(entry, key)
    if data and path:
        raise entry.table.places[key].error(f"{key} and {key}-data exclude each other")
    return Pem(data, path)


def _data(table: Table, key: str) -> bytes:
    text = _text(table, key)
    try:
        return base64.b64decode("".join(text.splitlines()), validate=True)
    except binascii.Error as error:
        raise table.values[key].place.error(f"{key} is not base64: {error}") from error


def _path(entry: Entry, key: str) -> str:
    path = _text(entry.table, key)
    return _resolved(path, entry.directory) if path else ""


def _resolved(path: str, directory: str) -> str:
    return os.path.normpath(os.path.join(directory, path))  # noqa: PTH118 - texts, no files


def _absent(table: Table, key: str) -> bool:
    node = table.values.get(key)
    return node is None or (isinstance(node, Scalar) and node.is_null)


def _text(table: Table, key: str) -> str:
    """Return a text; "" where there is none. No error shows it: it may be a secret."""
    if _absent(table, key):
        return ""
    return _word(table.values[key], key)


def _word(node: Node, what: str) -> str:
    if not isinstance(node, Scalar):
        raise node.place.error(f"{what} is {document.describe(node)}; expected a text")
    if node.plain and (node.text in _TRUE | _FALSE or _NUMBER.fullmatch(node.text)):
        raise node.place.error(f"{what} is a number or a truth value; as a text it needs quotes")
    return "" if node.is_null else node.text


def _texts(table: Table, key: str) -> tuple[str, ...]:
    return tuple(_word(item, key) for item in _items(table, key))


def _flag(table: Table, key: str) -> bool:
    if _absent(table, key):
        return False
    node = table.values[key]
    if isinstance(node, Scalar) and node.plain and node.text in _TRUE | _FALSE:
        return node.text in _TRUE
    raise node.place.error(f"{key} is {document.describe(node)}; expected true or false")


def _items(table: Table, key: str) -> Sequence[Node]:
    found = _child(table, key, Items)
    return found.values if found is not None else ()


def _child(table: Table, key: str, kind: type[_N]) -> _N | None:
    """Return the list or the mapping at a key; None where there is none."""
    if _absent(table, key):
        return None
    node = table.values[key]
    if isinstance(node, kind):
        return node
    expected = {Items: "a list", Table: "a mapping"}[kind]
    raise node.place.error(f"{key} is {document.describe(node)}; expected {expected}")
