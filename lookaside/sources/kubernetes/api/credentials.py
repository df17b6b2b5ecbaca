"""Address and credentials for the API server: in a cluster, or from kubeconfig files.

Each load reads again what may have changed: service account tokens are rotated under a running
Pod, certificates too, and exec plugins give credentials that expire.
"""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from yarl import URL

from lookaside.config import document
from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api import kubeconfig
from lookaside.sources.kubernetes.api.connection import Connection, Tls, web_url
from lookaside.sources.kubernetes.api.exec_credentials import Credential, ExecPlugin
from lookaside.sources.kubernetes.api.kubeconfig import Config
from lookaside.sources.kubernetes.api.kubeconfig_entries import Cluster, Pem, User
from lookaside.sources.kubernetes.api.proxies import environment_proxy, proxy_url

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_DEFAULT = "~/.kube/config"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Credentials(Protocol):
    """Says how the API server is reached."""

    async def load(self) -> Connection:
        """Return what holds now. One load at a time is the caller's concern.

        Raises:
            ConfigError: It can't be read, or is incomplete.
        """

    def forget(self, refused: Connection) -> None:
        """Keep nothing that was cached of a connection: the API server answered it with 401."""


class InCluster:
    """A Pod's service account.

    Args:
        directory: Where its token and CA certificate are mounted.
        environ: The environment, with KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
    """

    def __init__(
        self, directory: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._directory = directory
        self._environ = environ

    def __repr__(self) -> str:
        return f"InCluster({str(self._directory)!r})"

    async def load(self) -> Connection:
        """Read the mounted token and CA certificate.

        Raises:
            ConfigError: This is not a Pod, or its service account is not mounted.
        """
        host, port = self._environ.get(_HOST), self._environ.get(_PORT)
        if not host or not port:
            raise _not_mounted(f"{_HOST} and {_PORT} are not set")
        try:
            token = _token(self._directory / "token")
            tls = Tls(ca=_read(self._directory / "ca.crt"))
        except ConfigError as error:
            raise _not_mounted(str(error)) from error
        url = web_url(f"https://{f'[{host}]' if ':' in host else host}:{port}", _HOST)
        return Connection(
            _shown(url), tls, environment_proxy(url, self._environ), (_bearer(token),)
        )

    def forget(self, refused: Connection) -> None:
        """Do nothing: the token is read each time."""


class Kubeconfig:
    """A kubeconfig file, or several that are merged.

    Args:
        path: The file; None: those of $KUBECONFIG, with ":" between them, else ~/.kube/config.
        context: The context to use; None: the current one.
        environ: The environment.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        context: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        named = str(path) if path else environ.get("KUBECONFIG") or _DEFAULT
        self._named = named
        self._paths = [named] if path else list(dict.fromkeys(named.split(os.pathsep)))
        self._hint = "" if path else "; --kubeconfig or KUBECONFIG says where it is"
        self._context = context
        self._environ = environ
        self._texts: Sequence[tuple[str, str]] = ()
        self._config = Config()
        self._plugin: ExecPlugin | None = None
        self._given: Connection | None = None

    def __repr__(self) -> str:
        return f"Kubeconfig({self._named!r}, {self._context!r})"

    def is_empty(self) -> bool:
        """Whether there is nothing in the files, or none, or only another user's."""
        try:
            return not self._read()
        except ConfigError as error:
            return isinstance(error.__cause__, PermissionError)

    async def load(self) -> Connection:
        """Read the files, and what they point at.

        Raises:
            ConfigError: No such file, no such context, it is malformed or uses what is not
                supported, or its exec plugin fails.
        """
        try:
            cluster, user = kubeconfig.select(self._found(), self._context)
            self._given = await self._connection(cluster, user)
        except ConfigError as error:
            names_file = str(error).startswith((self._named, *(path for path, _ in self._texts)))
            raise ConfigError(
                f"kubeconfig {error}" if names_file else f"kubeconfig {self._named}: {error}"
            ) from error
        return self._given

    def forget(self, refused: Connection) -> None:
        """Run the exec plugin next time, unless it has given something else meanwhile."""
        if self._plugin is not None and refused == self._given:
            self._plugin.forget()

    def _found(self) -> Config:
        config = self._read()
        if not self._texts:
            raise ConfigError(f"{self._named}: no such file{self._hint}")
        return config

    def _read(self) -> Config:
        """Read the files that exist, again if one has changed."""
        texts = []
        for path in filter(None, self._paths):
            home = self._environ.get("HOME")
            file = f"{home}{path[1:]}" if home and path.startswith("~/") else path
            try:
                texts.append((file, document.load(Path(file), "it")))
            except ConfigError as error:
                if not isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                    raise
        if texts != self._texts:
            self._config = kubeconfig.merge([kubeconfig.parse(text, path) for path, text in texts])
            self._texts = texts
        return self._config

    async def _connection(self, cluster: Cluster, user: User) -> Connection:
        url = _server(cluster.server)
        proxy = (
            proxy_url(cluster.proxy_url, "proxy-url")
            if cluster.proxy_url
            else environment_proxy(url, self._environ)
        )
        tls, headers = Tls(), user.impersonation
        # As kubectl: no credentials are sent in plain text.
        if url.scheme == "https":
            ca = _content(cluster.ca)
            given = await self._ask(cluster, user, ca)
            tls = Tls(
                ca,
                _content(user.certificate) or (given.certificate if given else None),
                _content(user.key) or (given.key if given else None),
                not cluster.insecure,
                cluster.tls_server_name,
            )
            headers = (*_authorization(user, given), *headers)
        if url.user is not None:
            # Go's http.Client sets it first, and what else would set it leaves it alone.
            others = [header for header in headers if header[0] != "Authorization"]
            headers = (_basic(url.user, url.password or ""), *others)
        return Connection(_shown(url), tls, proxy, _checked(headers), cluster.compression)

    async def _ask(self, cluster: Cluster, user: User, ca: bytes | None) -> Credential | None:
        """Ask the exec plugin, if there is one and nothing goes before it."""
        if user.plugin is None or user.token or user.token_file or user.username:
            return None
        if user.certificate:
            return None
        if self._plugin is None or not self._plugin.is_for(user.plugin, cluster, ca):
            self._plugin = ExecPlugin(user.plugin, cluster, ca, self._environ)
        return await self._plugin.credential()


def discover(
    path: str | Path | None = None,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Credentials:
    """Choose as kubectl does: kubeconfig files if there are any, else the Pod's service account.

    Args:
        path: A kubeconfig file.
        context: A context in it.
        environ: The environment.
    """
    files = Kubeconfig(path, context, environ)
    if path is None and context is None and environ.get(_HOST) and files.is_empty():
        return InCluster(environ=environ)
    return files


def _server(text: str) -> URL:
    """Read a cluster's server: a URL, or HOST[:PORT], which means http, as to kubectl."""
    whole = "://" in text
    url = web_url(text if whole else f"http://{text}", "server")
    if not whole and url.path not in ("", "/"):
        raise ConfigError(f"server {text!r} is neither a URL nor HOST:PORT")
    return url


def _shown(url: URL) -> str:
    return str(url.with_user(None).with_query(None).with_fragment(None)).rstrip("/")


def _authorization(user: User, given: Credential | None) -> tuple[tuple[str, str], ...]:
    if user.token_file:
        return (_bearer(_refreshed(user)),)
    if user.token or (given and given.token):
        return (_bearer(user.token or (given.token if given else "")),)
    return (_basic(user.username, user.password),) if user.username else ()


def _refreshed(user: User) -> str:
    """Return the token of a file; where it can't be read, the one of the kubeconfig, if any."""
    try:
        return _token(Path(user.token_file))
    except ConfigError:
        if user.token:
            return user.token
        raise


def _token(path: Path) -> str:
    token = _read(path).decode(errors="replace").strip()
    if not token:
        raise ConfigError(f"{path} is empty; expected a token")
    return token


def _bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


def _basic(user: str, password: str) -> tuple[str, str]:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return ("Authorization", f"Basic {pair}")


def _checked(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    for name, value in headers:
        if _CONTROL.search(value):
            raise ConfigError(f"the header {name} can't hold a line end or a control character")
    return headers


def _content(pem: Pem) -> bytes | None:
    return pem.data or (_read(Path(pem.path)) if pem.path else None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from error


def _not_mounted(said: str) -> ConfigError:
    return ConfigError(
        f"no in-cluster credentials: {said}; automountServiceAccountToken mounts them"
    )
