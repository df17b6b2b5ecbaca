"""The bootstrap files of xDS: where the balancer is, and who the client is. Pure."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lookaside.cli.balancer.messages import Document

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CLUSTER = "lookaside"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """What a bootstrap file says.

    Attributes:
        host: The balancer's host.
        port: Its port.
        tls: Whether TLS is used.
        cacert: The file of the authorities; None for the system's.
        cert: The file of the client's certificate chain; None for none.
        key: That of its key.
        token_file: That of the client's token; None for none.
        name: What the client is called.
        zone: Where it runs; "" is unknown.
        node: The name of its Kubernetes node; "" is unknown.
        listeners: By service, the port that an Envoy is to listen on.
    """

    host: str
    port: int
    tls: bool = False
    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token_file: Path | None = None
    name: str
    zone: str = ""
    node: str = ""
    listeners: Mapping[str, int]

    def grpc(self) -> Document:
        """Return the file of a gRPC client (gRFC A27, A29, A97)."""
        files = {
            "ca_certificate_file": self.cacert,
            "certificate_file": self.cert,
            "private_key_file": self.key,
        }
        config = {name: str(file) for name, file in files.items() if file}
        credentials: Document = {"type": "tls" if self.tls else "insecure"}
        server: Document = {
            "server_uri": self._address,
            "channel_creds": [credentials | ({"config": config} if config else {})],
            "server_features": ["xds_v3"],
        }
        if self.token_file:
            token = {"jwt_token_file": str(self.token_file)}
            server["call_creds"] = [{"type": "jwt_token_file", "config": token}]
        return {"xds_servers": [server], "node": self._node()}

    def envoy(self) -> Document:
        """Return the file of an Envoy, which gets all else from the balancer."""
        service = {"envoy_grpc": {"cluster_name": _CLUSTER}}
        return {
            "node": self._node({"lookaside.dev/listeners": dict(self.listeners)}),
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [service],
                },
                "cds_config": {"resource_api_version": "V3", "ads": {}},
                "lds_config": {"resource_api_version": "V3", "ads": {}},
            },
            "static_resources": {"clusters": [self._cluster()]},
        }

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _node(self, metadata: Document | None = None) -> Document:
        node: Document = {"id": self.name, "cluster": self.name}
        if self.zone:
            node["locality"] = {"zone": self.zone}
        said = (metadata or {}) | ({"lookaside.dev/node": self.node} if self.node else {})
        return node | ({"metadata": said} if said else {})

    def _cluster(self) -> Document:
        socket = {"address": self.host, "port_value": self.port}
        endpoint = {"endpoint": {"address": {"socket_address": socket}}}
        options = {
            "@type": f"type.googleapis.com/{_HTTP2}",
            "explicit_http_config": {
                # A connection that is lost without notice is closed.
                "http2_protocol_options": {
                    "connection_keepalive": {"interval": "30s", "timeout": "10s"}
                }
            },
        }
        cluster: Document = {
            "name": _CLUSTER,
            "type": "STRICT_DNS",
            "typed_extension_protocol_options": {_HTTP2: options},
            "load_assignment": {
                "cluster_name": _CLUSTER,
                "endpoints": [{"lb_endpoints": [endpoint]}],
            },
        }
        return cluster | ({"transport_socket": self._transport()} if self.tls else {})

    def _transport(self) -> Document:
        kind = "IP_ADDRESS" if _is_ip(self.host) else "DNS"
        trusted: Document = {
            "trusted_ca": {"filename": str(self.cacert or _AUTHORITIES)},
            "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": self.host}}],
        }
        context: Document = {"validation_context": trusted}
        if self.cert and self.key:
            pair = {
                "certificate_chain": {"filename": str(self.cert)},
                "private_key": {"filename": str(self.key)},
            }
            context["tls_certificates"] = [pair]
        typed: Document = {
            "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": context,
        }
        if kind == "DNS":
            typed["sni"] = self.host
        return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
