"""Clusters and users of a kubeconfig as they are used. Pure.

What is checked is what client-go's tools/clientcmd checks (`validation.go`); what kubectl uses and
is not supported here is refused.
"""

import base64
import binascii
import os.path
import string

from msgspec import Struct

from lookaside.config.document import Table
from lookaside.sources.kubernetes.api import kubeconfig_fields as fields

# Where a cluster's part for an exec plugin stands among its extensions.
_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_HEADER_BYTES = frozenset((string.ascii_letters + string.digits + "!#$&'*+-.^_`|~").encode())


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
        server: The URL as written, possibly with a user or without a scheme.
        ca: Its authorities.
        insecure: Its certificate is not checked.
        tls_server_name: The name in its certificate; "": the server's.
        proxy_url: The proxy; "": as the environment says.
        compression: Answers may be compressed.
        exec_config: The configuration for an exec plugin: a JSON value.
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
        provide_cluster_info: The cluster is part of its input.
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
        impersonation: The headers of the user to act as.
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


class Entry(Struct, frozen=True):
    """An entry of a file, and the directory that its relative paths start from."""

    table: Table
    directory: str


def read_cluster(entry: Entry) -> Cluster:
    """Read a cluster.

    Raises:
        ConfigError: It lacks something, or uses what is not supported; the text says where.
    """
    refuse_merge_key(entry)
    table = entry.table
    server, ca = fields.text(table, "server"), _pem(entry, "certificate-authority")
    insecure = fields.flag(table, "insecure-skip-tls-verify")
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
        fields.text(table, "tls-server-name"),
        fields.text(table, "proxy-url"),
        not fields.flag(table, "disable-compression"),
        _exec_config(table),
    )


def read_user(entry: Entry) -> User:
    """Read a user.

    Raises:
        ConfigError: It lacks something, or uses what is not supported; the text says where.
    """
    refuse_merge_key(entry)
    table = entry.table
    if not fields.absent(table, "auth-provider"):
        raise table.places["auth-provider"].error(
            "auth-provider is not supported; an exec plugin does the same"
        )
    certificate, key = _pem(entry, "client-certificate"), _pem(entry, "client-key")
    if certificate and not key:
        raise table.place.error("client-certificate has no client-key")
    user = User(
        certificate,
        key,
        fields.text(table, "token"),
        _path(entry, "tokenFile"),
        fields.text(table, "username"),
        fields.text(table, "password"),
        _exec(entry),
        _impersonation(table),
    )
    if (user.token or user.token_file) and (user.username or user.password):
        raise table.place.error("a token and username or password exclude each other")
    return user


def refuse_merge_key(entry: Entry) -> None:
    """Refuse YAML's `<<`: what it would bring in must not be missed in silence.

    Raises:
        ConfigError: It is there.
    """
    if "<<" in entry.table.values:
        raise entry.table.places["<<"].error("the merge key << is not supported")


def _impersonation(table: Table) -> tuple[tuple[str, str], ...]:
    # https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    name, uid, groups = (
        fields.text(table, "as"),
        fields.text(table, "as-uid"),
        fields.texts(table, "as-groups"),
    )
    extra = fields.child(table, "as-user-extra", Table)
    values = (
        [(key, value) for key in extra.values for value in fields.texts(extra, key)]
        if extra
        else []
    )
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
    """Escape what a header's name can't contain, as the API server unescapes it."""
    return "".join(chr(byte) if byte in _HEADER_BYTES else f"%{byte:02X}" for byte in key.encode())


def _exec(entry: Entry) -> Exec | None:
    table = fields.child(entry.table, "exec", Table)
    if table is None:
        return None
    command, version = fields.text(table, "command"), fields.text(table, "apiVersion")
    if not command:
        raise table.place.error("exec has no command")
    if version not in ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"):
        raise table.place.error(
            f"the apiVersion of exec is {version!r}; expected client.authentication.k8s.io/v1 or "
            "client.authentication.k8s.io/v1beta1"
        )
    mode = fields.text(table, "interactiveMode")
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
        fields.texts(table, "args"),
        _variables(table),
        version,
        fields.text(table, "installHint"),
        fields.flag(table, "provideClusterInfo"),
    )


def _variables(table: Table) -> tuple[tuple[str, str], ...]:
    found = []
    for item in fields.items(table, "env"):
        if not isinstance(item, Table) or not fields.text(item, "name"):
            raise item.place.error("expected a mapping with name and value")
        found.append((fields.text(item, "name"), fields.text(item, "value")))
    return tuple(found)


def _exec_config(table: Table) -> object:
    for item in fields.items(table, "extensions"):
        if isinstance(item, Table) and fields.text(item, "name") == _EXEC_EXTENSION:
            return fields.json_value(item.values.get("extension"))
    return None


def _pem(entry: Entry, key: str) -> Pem:
    data = _data(entry.table, f"{key}-data")
    path = _path(entry, key)
    if data and path:
        raise entry.table.places[key].error(f"{key} and {key}-data exclude each other")
    return Pem(data, path)


def _data(table: Table, key: str) -> bytes:
    text = fields.text(table, key)
    try:
        return base64.b64decode("".join(text.splitlines()), validate=True)
    except binascii.Error as error:
        raise table.values[key].place.error(f"{key} is not base64: {error}") from error


def _path(entry: Entry, key: str) -> str:
    path = fields.text(entry.table, key)
    return _resolved(path, entry.directory) if path else ""


def _resolved(path: str, directory: str) -> str:
    return os.path.normpath(os.path.join(directory, path))  # noqa: PTH118 - texts, no files
