"""TLS and mutual TLS, with certificates that are read again when they are rotated."""

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc
from msgspec import Struct

from lookaside.api.pem import load_authorities, load_pair, not_after
from lookaside.logging import get_logger

_log = get_logger("tls")


class TlsFiles(Struct, frozen=True):
    """The paths of the PEM files.

    Attributes:
        cert: The certificate chain.
        key: Its private key.
        client_ca: The authorities whose certificates clients must show; None: clients show none.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


class _Pem(Struct, frozen=True):
    cert: bytes
    key: bytes
    client_ca: bytes | None

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.cert)], root_certificates=self.client_ca
        )


def server_credentials(
    files: TlsFiles, ends: Callable[[float], None] = lambda _: None
) -> grpc.ServerCredentials:
    """Return credentials that look at the files at every handshake.

    A half-written rotation, such as a certificate without its new key, is logged once and changes
    nothing: the last good pair is used until the files fit again.

    Args:
        files: Where they are.
        ends: Called with the expiry of the certificate in use, in seconds since 1970, now and
            whenever it is replaced; on gRPC's own threads.

    Raises:
        ConfigError: A file can't be read, or the files don't fit.
    """
    reloader = _Reloader(files, ends)
    return grpc.dynamic_ssl_server_credentials(
        reloader.current.configuration(),
        # None is allowed and means unchanged, though the type stubs don't say so.
        cast("Callable[[], grpc.ServerCertificateConfiguration]", reloader.fetch),
        require_client_authentication=files.client_ca is not None,
    )


class _Reloader:
    """Holds the last good files. `fetch` is called from gRPC's own threads."""

    def __init__(self, files: TlsFiles, ends: Callable[[float], None]) -> None:
        self._files = files
        self._ends = ends
        self._lock = threading.Lock()
        self._refused: str | None = None
        self.current = _read(files)
        ends(not_after(self.current.cert))

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration if the files have changed, else None."""
        with self._lock:
            try:
                pem = _read(self._files)
            # Whatever else it is: gRPC would refuse this handshake and say nothing.
            except Exception as error:  # noqa: BLE001
                if str(error) != self._refused:
                    self._refused = str(error)
                    _log.error("certificate not reloaded, the last one stays", error=str(error))
                return None
            self._refused = None
            if pem == self.current:
                return None
            self.current = pem
            self._ends(not_after(pem.cert))
            _log.info("certificate reloaded", cert=str(self._files.cert))
            return pem.configuration()


def _read(files: TlsFiles) -> _Pem:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert, key = load_pair(context, files.cert, files.key)
    authorities = load_authorities(context, files.client_ca) if files.client_ca else None
    return _Pem(cert, key, authorities)
