"""Where the API server is and who one is to it: in a cluster, or by a kubeconfig file.

Each load reads again what may have changed: service account tokens are rotated under a running
pod, certificates too, and exec plugins give credentials that expire.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from kubernetes.aio.config.kube_config import KubeConfigLoader, load_kube_config

from lookaside.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOST = "KUBERNETES_SERVICE_HOST"
# The loader digs in YAML that it has not checked.
_MALFORMED = (KeyError, TypeError, AttributeError)


class Credentials(Protocol):
    """Fills in the configuration of a client."""

    async def load(self) -> Configuration:
        """Return the configuration as it is now.

        Raises:
            ConfigError: It can't be read, or is incomplete.
        """

    def forget(self) -> None:
        """Keep nothing that was cached: the API server refused it."""


class InCluster:
    """A pod's service account.

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

    async def load(self) -> Configuration:
        """Read the mounted token and CA certificate.

        Raises:
            ConfigError: This is not a pod, or its service account is not mounted.
        """
        configuration = Configuration()
        loader = InClusterConfigLoader(
            str(self._directory / "token"),
            str(self._directory / "ca.crt"),
            try_refresh_token=False,
            environ=self._environ,
        )
        try:
            loader.load_and_set(configuration)
        except (ConfigException, OSError, ValueError) as error:
            said = str(error).rstrip(".")
            raise ConfigError(
                f"no in-cluster credentials: {said}; automountServiceAccountToken mounts them"
            ) from error
        return _finished(configuration)

    def forget(self) -> None:
        """Do nothing: the token is read each time."""


class Kubeconfig:
    """A kubeconfig file, or several that are merged.

    Args:
        path: The file, or several with ":" between them; None: what $KUBECONFIG says, else
            ~/.kube/config.
        context: The context to use; None: the current one.
        environ: The environment.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        context: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        default = environ.get("KUBECONFIG") or "~/.kube/config"
        self._paths = str(path or default)
        self._hint = "" if path else "; --kubeconfig or KUBECONFIG says where it is"
        self._context = context
        self._loader: KubeConfigLoader | None = None
        self._stamp: tuple[tuple[str, int, int, int], ...] = ()

    def __repr__(self) -> str:
        return f"Kubeconfig({self._paths!r}, {self._context!r})"

    async def load(self) -> Configuration:
        """Read the file if it changed, and what it points at.

        Raises:
            ConfigError: No such file, no such context, or it is malformed.
        """
        configuration = Configuration()
        try:
            stamp = self._stat()
            if self._loader is None or stamp != self._stamp:
                self._loader = None
                self._loader = await load_kube_config(
                    self._paths, self._context, configuration, persist_config=False
                )
                self._stamp = stamp
            else:
                await self._loader.load_and_set(configuration)
        except _MALFORMED as error:
            raise ConfigError(f"kubeconfig {self._paths}: it is not a kubeconfig") from error
        except (OSError, ConfigException, yaml.YAMLError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"kubeconfig {self._paths}: {said}") from error
        return _finished(configuration)

    def forget(self) -> None:
        """Load all anew next time, and run the exec plugin again."""
        self._loader = None

    def _stat(self) -> tuple[tuple[str, int, int, int], ...]:
        stamps = []
        for name in self._paths.split(os.pathsep):
            path = Path(name).expanduser()
            if name and path.exists():
                stat = path.stat()
                stamps.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
        if not stamps:
            raise ConfigError(f"kubeconfig {self._paths}: no such file{self._hint}")
        return tuple(stamps)


def discover(
    kubeconfig: str | Path | None = None,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Credentials:
    """Choose as kubectl does: a file that is named, else the pod's service account, else a file.

    Args:
        kubeconfig: A kubeconfig file.
        context: A context in it.
        environ: The environment.
    """
    if kubeconfig is None and context is None and environ.get(_HOST):
        return InCluster(environ=environ)
    return Kubeconfig(kubeconfig, context, environ)


def _finished(configuration: Configuration) -> Configuration:
    # No header may hold the line end that a token file may have.
    configuration.api_key = {key: value.strip() for key, value in configuration.api_key.items()}
    # Python 3.13 demands the form of RFC 5280 of each certificate. The CAs of EKS and others lack
    # key identifiers; client-go, as Go's crypto/x509, checks chain, validity and name alone.
    configuration.disable_strict_ssl_verification = True
    return configuration
