"""The certificates, keys and kubeconfig files of a control plane that lives for one test run."""

import base64
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme


@dataclass(frozen=True)
class Certificates:
    """Where the PEM files of a control plane are."""

    ca: Path
    serving_cert: Path
    serving_key: Path
    admin_cert: Path
    admin_key: Path
    service_account_key: Path


def issue(directory: Path, server_names: Sequence[str]) -> Certificates:
    """Make a certificate authority and all that it signs.

    Args:
        directory: Where the files are written.
        server_names: The names and addresses that the API server answers to.

    Returns:
        The files. The admin is in the group system:masters, which may do everything.
    """
    authority = trustme.CA(organization_name="Lookaside tests")
    serving = authority.issue_cert(*server_names, common_name="kube-apiserver")
    admin = authority.issue_cert(
        "admin.invalid", common_name="admin", organization_name="system:masters"
    )
    tokens = authority.issue_cert("tokens.invalid", common_name="service-accounts")
    return Certificates(
        ca=_write(directory / "ca.crt", authority.cert_pem.bytes()),
        serving_cert=_write(directory / "serving.crt", serving.cert_chain_pems[0].bytes()),
        serving_key=_write(directory / "serving.key", serving.private_key_pem.bytes()),
        admin_cert=_write(directory / "admin.crt", admin.cert_chain_pems[0].bytes()),
        admin_key=_write(directory / "admin.key", admin.private_key_pem.bytes()),
        service_account_key=_write(directory / "tokens.key", tokens.private_key_pem.bytes()),
    )


def admin_context(certificates: Certificates) -> ssl.SSLContext:
    """Make the TLS context of a client that is the admin."""
    context = anonymous_context(certificates)
    context.load_cert_chain(certificates.admin_cert, certificates.admin_key)
    return context


def anonymous_context(certificates: Certificates) -> ssl.SSLContext:
    """Make the TLS context of a client that has no certificate of its own."""
    return ssl.create_default_context(cafile=certificates.ca)


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    certificates: Certificates,
    token: str | None = None,
    namespace: str = "default",
) -> Path:
    """Write a kubeconfig file, as JSON, which is YAML too.

    Args:
        path: The file.
        server: The URL of the API server.
        certificates: Whose authority is trusted.
        token: The bearer token to use; None: the admin's certificate.
        namespace: The namespace of the context.

    Returns:
        The file.
    """
    user: dict[str, str]
    if token is None:
        user = {
            "client-certificate-data": _encoded(certificates.admin_cert),
            "client-key-data": _encoded(certificates.admin_key),
        }
    else:
        user = {"token": token}
    cluster = {"server": server, "certificate-authority-data": _encoded(certificates.ca)}
    context = {"cluster": "test", "user": "test", "namespace": namespace}
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }
    return _write(path, json.dumps(config, indent=2).encode())


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _write(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
