"""Every setting of `lookaside serve`: its value, and how users name and write it.

A setting's key gives the flag (``--stale-after``), the environment variable
(``LOOKASIDE_STALE_AFTER``) and the key in the config file (``stale_after``).

No key may be ``port``, or begin with ``port_`` or ``service_``: for a Service named ``lookaside``
Kubernetes itself sets such variables in every Pod.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from lookaside.config import values
from lookaside.config.values import Listen, SourceSetting
from lookaside.errors import ConfigError

PREFIX: Final = "LOOKASIDE_"

_LISTEN = Listen("", 50052)
_ADMIN = Listen("", 9090)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the service runs with. Lengths of time are in seconds.

    Attributes:
        sources: Where services come from.
        listen: Where gRPC is served.
        admin: Where metrics, health and status are served over HTTP; None for nowhere.
        namespace: The one namespace whose services are served; None for all.
        kubeconfig: The kubeconfig file; None for the Pod's service account or kubectl's own.
        context: The context of the kubeconfig file; None for its current one.
        default_namespace: The namespace of a service name that has none.
        cluster_domain: The domain that full service names end in.
        stale_after: How long a source may confirm nothing until its lists are stale.
        grace: How long SIGTERM waits for open calls.
        max_watch_age: The age at which a watch is ended; 0 for never.
        write_timeout: How long a watch's reader may take no message until the watch is ended.
        tls_cert: The certificate chain to serve with; None for no TLS.
        tls_key: The certificate's private key.
        tls_client_ca: The authorities that clients' certificates must be from; None for any client.
        reflection: Whether gRPC reflection is served.
        log_level: The least level that is logged.
        log_format: ``json``, ``console`` or ``auto``.
    """

    sources: tuple[SourceSetting, ...] = ()
    listen: Listen = _LISTEN
    admin: Listen | None = _ADMIN
    namespace: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    default_namespace: str = "default"
    cluster_domain: str = "cluster.local"
    stale_after: float = 120.0
    grace: float = 30.0
    max_watch_age: float = 3600.0
    write_timeout: float = 30.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    reflection: bool = True
    log_level: str = "info"
    log_format: str = "auto"

    def __post_init__(self) -> None:
        """Check what holds between settings.

        Raises:
            ConfigError: Two settings don't go together.
        """
        if len(set(self.sources)) < len(self.sources):
            twice = next(each for each in self.sources if self.sources.count(each) > 1)
            raise ConfigError(f"source: {twice} is given twice")
        if self.tls_cert and not self.tls_key:
            raise ConfigError("tls_cert is given without tls_key; TLS needs both")
        if self.tls_key and not self.tls_cert:
            raise ConfigError("tls_key is given without tls_cert; TLS needs both")
        if self.tls_client_ca and not self.tls_cert:
            raise ConfigError("tls_client_ca is given without tls_cert and tls_key")
        if self.admin and self.admin.port and self.admin.overlaps(self.listen):
            raise ConfigError(
                f"listen {self.listen} and admin {self.admin} take the same port; expected two"
            )


@dataclass(frozen=True, slots=True)
class Setting:
    """How one setting is written.

    Attributes:
        key: The name that users type, as in the config file.
        metavar: The form of its value.
        parse: Makes the value of its text; raises ValueError with what is expected.
        help: What it does, for ``--help``.
        default: What holds where it is not given, in words.
        attribute: The field of `Settings`.
        many: Whether it may be given several times.
    """

    key: str
    metavar: str
    parse: Callable[[str], object]
    help: str
    default: str = ""
    attribute: str = ""
    many: bool = False

    @property
    def field(self) -> str:
        """The name of the field of `Settings`."""
        return self.attribute or self.key

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.key.upper()

    @property
    def shown_default(self) -> str:
        """What holds where it is not given, for ``--help``."""
        default = next(each.default for each in fields(Settings) if each.name == self.field)
        return self.default or str(default)


SETTINGS: Final = (
    Setting(
        "source",
        "kubernetes|file:PATH",
        values.source,
        "Where services come from. May be given several times.",
        default="none",
        attribute="sources",
        many=True,
    ),
    Setting("listen", "HOST:PORT", values.listen, "Where to serve gRPC; :PORT is every address."),
    Setting(
        "admin",
        "HOST:PORT|off",
        values.listen_or_off,
        "Where to serve metrics, health and the status page over HTTP.",
    ),
    Setting(
        "namespace",
        "NAME",
        values.label,
        "Serve only the services of this namespace.",
        default="all",
    ),
    Setting(
        "kubeconfig",
        "FILE",
        values.path,
        "The kubeconfig file to reach the cluster with.",
        default="the Pod's service account, else as kubectl",
    ),
    Setting(
        "context",
        "NAME",
        str,
        "The context of the kubeconfig file.",
        default="the current one",
    ),
    Setting(
        "default_namespace", "NAME", values.label, "The namespace of a service name that has none."
    ),
    Setting(
        "cluster_domain", "DOMAIN", values.domain, "The domain that full service names end in."
    ),
    Setting(
        "stale_after",
        "DURATION",
        values.positive,
        "How long a source may confirm nothing until its lists are marked stale. They stay served.",
        default="120s",
    ),
    Setting("grace", "DURATION", values.duration, "How long SIGTERM waits for open calls.", "30s"),
    Setting(
        "max_watch_age",
        "DURATION",
        values.duration,
        "End each watch when it is about so old, so that clients spread over new replicas; "
        "0 for never.",
        default="1h",
    ),
    Setting(
        "write_timeout",
        "DURATION",
        values.positive,
        "End a watch whose reader takes no message for so long.",
        default="30s",
    ),
    Setting(
        "tls_cert", "FILE", values.path, "The certificate chain to serve gRPC with, PEM.", "no TLS"
    ),
    Setting("tls_key", "FILE", values.path, "The private key of the certificate, PEM.", "no TLS"),
    Setting(
        "tls_client_ca",
        "FILE",
        values.path,
        "Take only clients with a certificate of these authorities, PEM.",
        default="any client",
    ),
    Setting(
        "reflection",
        "BOOL",
        values.boolean,
        "Serve gRPC reflection, for grpcurl.",
        default="true",
    ),
    Setting(
        "log_level",
        "LEVEL",
        values.one_of("debug", "info", "warning", "error"),
        "The least level to log: debug, info, warning or error.",
    ),
    Setting(
        "log_format",
        "FORMAT",
        values.one_of("auto", "json", "console"),
        "json, console, or auto: console on a terminal, json elsewhere.",
    ),
)
