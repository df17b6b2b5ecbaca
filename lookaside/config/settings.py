"""Every setting of `lookaside serve`: its value, and how users name and write it.

A setting's key gives the flag (``--stale-after``), the environment variable
(``LOOKASIDE_STALE_AFTER``) and the key in the config file (``stale_after``).

No key may be ``port``, or begin with ``port_`` or ``service_``: for a Service named ``lookaside``
Kubernetes itself sets such variables in every Pod.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal

from lookaside.config import values
from lookaside.config.access import Allowance, allowance
from lookaside.config.selectors import label_name, selector
from lookaside.config.values import Listen, SourceSetting
from lookaside.errors import ConfigError

PREFIX: Final = "LOOKASIDE_"
OTHER_VARIABLES: Final = frozenset(
    {f"{PREFIX}{name}" for name in ("ADDRESS", "CONFIG", "NODE", "TOKEN_FILE", "ZONE")}
)
"""Variables of that prefix that are no settings: the config file's, the commands', the client's."""

_UNITS = {"DURATION": "seconds, or a number with ms, s, m or h", "PERCENT": "percent"}

_LISTEN = Listen("", 50052)
_ADMIN = Listen("", 9090)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the service. Times are in seconds.

    Attributes:
        sources: Where services come from.
        listen: Where gRPC is served.
        admin: Where metrics, health and status are served over HTTP; None for nowhere.
        namespaces: The namespaces whose services are served; none: all.
        kubeconfig: The kubeconfig file; None for kubectl's own or the Pod's service account.
        context: The context of the kubeconfig file; None for its current one.
        pods: Whether the metadata of Pods is watched, for their weights and labels.
        pod_selector: The label selector of the Pods that are watched; None for all.
        metadata_labels: The labels of Pods that are passed on as metadata.
        address_family: The family of the address that stands for a Pod with one of each, and of
            those of a name in DNS that has both.
        debounce: The window in which a cluster's changes are gathered after one has been sent; 0
            for none.
        mass_removal: The share, in percent, of what a source holds that a new list may lack before
            it is read a second time; 0 for any.
        dns_interval: How long an answer of DNS is taken to hold.
        namespace_grace: How long the others of several namespaces are held back at the start for
            one whose first list doesn't come.
        default_namespace: The namespace of a service name that has none.
        cluster_domain: The domain that full service names end in.
        stale_after: How long a source may confirm nothing until its lists are stale.
        grace: How long SIGTERM waits for open calls.
        max_watch_age: The age at which a watch is ended; 0 for never.
        write_timeout: How long a watch's reader may take no message until the watch is ended.
        tls_cert: The certificate chain to serve with; None for no TLS.
        tls_key: The certificate's private key.
        tls_client_ca: The authorities that clients' certificates must be from; None for any client.
        allow: Who may ask for which namespaces; none: everyone for all.
        token_audience: The audience of Kubernetes tokens that callers may show; None: tokens are
            not looked at.
        grpclb: Whether clients with gRPC's `grpclb` policy are served.
        load_reports: How often clients are asked to report their load; 0 for never.
        xds: Whether xDS is served, to stock gRPC clients and Envoy.
        reflection: Whether gRPC reflection is served.
        log_level: The least level that is logged.
        log_format: ``json``, ``console`` or ``auto``.
    """

    sources: tuple[SourceSetting, ...] = ()
    listen: Listen = _LISTEN
    admin: Listen | None = _ADMIN
    namespaces: tuple[str, ...] = ()
    kubeconfig: Path | None = None
    context: str | None = None
    pods: bool = False
    pod_selector: str | None = None
    metadata_labels: tuple[str, ...] = ()
    address_family: Literal["IPv4", "IPv6"] = "IPv4"
    debounce: float = 0.0
    mass_removal: int = 50
    dns_interval: float = 30.0
    namespace_grace: float = 30.0
    default_namespace: str = "default"
    cluster_domain: str = "cluster.local"
    stale_after: float = 120.0
    grace: float = 30.0
    max_watch_age: float = 3600.0
    write_timeout: float = 30.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    allow: tuple[Allowance, ...] = ()
    token_audience: str | None = None
    grpclb: bool = True
    load_reports: float = 0.0
    xds: bool = True
    reflection: bool = True
    log_level: str = "info"
    log_format: str = "auto"

    def __post_init__(self) -> None:
        """Check what holds between settings.

        Raises:
            ConfigError: Two settings don't go together.
        """
        for key, given in (("source", self.sources), ("namespace", self.namespaces)):
            twice = next((each for each in given if given.count(each) > 1), None)
            if twice is not None:
                raise ConfigError(f"{key}: {twice} is given twice")
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
        if self.pod_selector and not self.pods:
            raise ConfigError("pod_selector is given without pods, which it selects from")
        if self.metadata_labels and not self.pods:
            raise ConfigError("metadata_label is given without pods, whose labels they are")
        if self.stale_after <= self.dns_interval and any(
            source.kind == "dns" for source in self.sources
        ):
            raise ConfigError(
                f"stale_after {self.stale_after:g}s is not above dns_interval "
                f"{self.dns_interval:g}s; lists of DNS would be stale before they are looked at"
            )
        self._check_cluster()
        self._check_access()

    def _check_cluster(self) -> None:
        kinds = {source.kind for source in self.sources}
        if not kinds or "kubernetes" in kinds:
            return
        if self.address_family == "IPv6" and "dns" not in kinds:
            raise ConfigError(
                "address_family has no effect without --source kubernetes or dns; "
                "add one, or leave address_family out"
            )
        for key, given in (("namespace", bool(self.namespaces)), ("pods", self.pods)):
            if given:
                raise ConfigError(
                    f"{key} has no effect without --source kubernetes; add that, or leave {key} out"
                )
        if self.token_audience:
            return
        for key, way in (("kubeconfig", self.kubeconfig), ("context", self.context)):
            if way:
                raise ConfigError(
                    f"{key} has no effect without --source kubernetes or token_audience; "
                    f"add one, or leave {key} out"
                )

    def _check_access(self) -> None:
        if self.token_audience and not self.allow:
            raise ConfigError("token_audience is given without allow, which grants access")
        if self.allow and not (self.tls_client_ca or self.token_audience):
            raise ConfigError(
                "allow is given with neither tls_client_ca nor token_audience; "
                "callers could not identify themselves"
            )
        for each in self.allow:
            if each.kind in ("spiffe", "dns") and not self.tls_client_ca:
                raise ConfigError(f"allow {each} is about certificates and needs tls_client_ca")
            if each.kind == "serviceaccount" and not self.token_audience:
                raise ConfigError(f"allow {each} is about tokens and needs token_audience")


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of one setting: names, type, default.

    Attributes:
        key: The name that users type, as in the config file.
        metavar: The form of its value.
        parse: Makes the value of its text; raises ValueError with what is expected.
        help: What it does, for ``--help``.
        default: What holds where it is not given, in words.
        attribute: The field of `Settings`.
        many: Whether it may be given several times.
        pairs: Whether the values are of the form KEY=VALUE[,VALUE...]: a variable has spaces alone
            between several, and in the config file they may be a mapping.
    """

    key: str
    metavar: str
    parse: Callable[[str], object]
    help: str
    default: str = ""
    attribute: str = ""
    many: bool = False
    pairs: bool = False

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
    def unit(self) -> str:
        """The unit of its value, if it is a quantity."""
        return _UNITS.get(self.metavar, "")

    @property
    def shown_default(self) -> str:
        """The default, for ``--help``."""
        default = next(each.default for each in fields(Settings) if each.name == self.field)
        return self.default or str(default)


SETTINGS: Final = (
    Setting(
        "source",
        "kubernetes|file:PATH|dns:HOST:PORT",
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
        "Serve only the services of this namespace. May be given several times.",
        default="all",
        attribute="namespaces",
        many=True,
    ),
    Setting(
        "kubeconfig",
        "FILE",
        Path,
        "The kubeconfig file to reach the cluster with.",
        default="as kubectl: KUBECONFIG, ~/.kube/config, else the Pod's service account",
    ),
    Setting(
        "context",
        "NAME",
        str,
        "The context of the kubeconfig file.",
        default="the current one",
    ),
    Setting(
        "pods",
        "BOOL",
        values.boolean,
        "Watch the metadata of Pods too, for weights by Pod annotation or label and for "
        "--metadata-label. Requires the right to list and watch pods.",
        default="false",
    ),
    Setting(
        "pod_selector",
        "SELECTOR",
        selector,
        "Watch only Pods that match this label selector, as in kubectl --selector; needs --pods.",
        default="all",
    ),
    Setting(
        "metadata_label",
        "NAME",
        label_name,
        "Pass on this label of Pods as metadata; needs --pods. May be given several times.",
        default="none",
        attribute="metadata_labels",
        many=True,
    ),
    Setting(
        "address_family",
        "IPv4|IPv6",
        values.family,
        "The address family to list for a Pod, or a name of --source dns, with addresses of both.",
    ),
    Setting(
        "debounce",
        "DURATION",
        values.duration,
        "After a change has been sent, collect further changes for this time and send them "
        "together; 0 sends each at once.",
        default="0s",
    ),
    Setting(
        "mass_removal",
        "PERCENT",
        values.percent,
        "Read a new list a second time before it is used if it lacks more than this share of 20 or "
        "more objects, or all; 0 accepts every list.",
    ),
    Setting(
        "dns_interval",
        "DURATION",
        values.positive,
        "How often the name of a dns source is resolved.",
        default="30s",
    ),
    Setting(
        "namespace_grace",
        "DURATION",
        values.duration,
        "How long, at the start, the other namespaces wait for one that can't be listed. After "
        "that, its names are UNAVAILABLE, with the reason.",
        default="30s",
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
        "How long a source may go unconfirmed until its lists are marked stale. They stay served.",
        default="120s",
    ),
    Setting("grace", "DURATION", values.duration, "How long SIGTERM waits for open calls.", "30s"),
    Setting(
        "max_watch_age",
        "DURATION",
        values.duration,
        "End each watch at about this age, so that clients spread over new replicas; 0 for never.",
        default="1h",
    ),
    Setting(
        "write_timeout",
        "DURATION",
        values.positive,
        "End a watch whose client reads no message for this time.",
        default="30s",
    ),
    Setting("tls_cert", "FILE", Path, "The certificate chain to serve gRPC with, PEM.", "no TLS"),
    Setting("tls_key", "FILE", Path, "The private key of the certificate, PEM.", "no TLS"),
    Setting(
        "tls_client_ca",
        "FILE",
        Path,
        "Accept only clients with a certificate of these authorities, PEM.",
        default="any client",
    ),
    Setting(
        "allow",
        "IDENTITY=NAMESPACE[,NAMESPACE...]",
        allowance,
        "Let callers of this identity query these namespaces, and nobody else; see above. May be "
        "given several times.",
        default="everyone may query all",
        many=True,
        pairs=True,
    ),
    Setting(
        "token_audience",
        "AUDIENCE",
        values.audience,
        "Accept Kubernetes tokens of this audience, reviewed by the API server, as identities.",
        default="tokens are ignored",
    ),
    Setting(
        "grpclb",
        "BOOL",
        values.boolean,
        "Serve clients with gRPC's grpclb policy.",
        default="true",
    ),
    Setting(
        "load_reports",
        "DURATION",
        values.duration,
        "How often clients of grpclb report what became of their calls, for metrics; 0 for never.",
        default="0s",
    ),
    Setting(
        "xds",
        "BOOL",
        values.boolean,
        "Serve xDS, for gRPC clients that dial xds:///SERVICE, and for Envoy.",
        default="true",
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
