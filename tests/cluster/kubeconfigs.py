"""Servers that keep what clients send, and what kubectl and lookaside send them by a kubeconfig."""

import base64
import contextlib
import http.server
import json
import shutil
import socket
import ssl
import string
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes import Client, discover
from lookaside.sources.kubernetes.api.errors import ApiStatus, KubernetesError
from tests.certificates import Shape, shaped

PATH = "/livez"
_COMPARED = ("authorization", "impersonate-")


@dataclass(frozen=True)
class Case:
    """Files, and how both programs are called.

    Attributes:
        files: Their texts by name, with $names of `Site.names`; those that begin with #! are run.
        context: The option --context.
        named: The option --kubeconfig; None: neither program is given one.
        environ: More of the environment.
        refused: What lookaside alone refuses, in words of its error; "": both do the same.
    """

    files: Mapping[str, str]
    context: str | None = None
    named: str | None = "config"
    environ: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True)
class Sent:
    """What one program did.

    Attributes:
        answered: It got the answer.
        requests: What the servers got: which one, path, credentials, certificate, name of TLS.
        tunnels: What the proxy was asked for.
        told: What the plugin was told, and with which arguments it was run.
        error: What it says if it got none.
    """

    answered: bool
    requests: list[tuple[str, ...]]
    tunnels: list[str]
    told: list[Any]
    error: str = field(compare=False)


class Site:
    """An API server by TLS, another in plain text, and a proxy, at an address.

    Args:
        address: The address, not a loopback one: no client asks a proxy for that.
        directory: Where the files of a case are written.
        kubectl: The real one.
    """

    def __init__(self, address: str, directory: Path, kubectl: Path) -> None:
        self.directory = directory
        self._kubectl = kubectl
        self._requests: list[tuple[str, ...]] = []
        self._tunnels: list[str] = []
        authority = trustme.CA()
        strangers = trustme.CA()
        shown = authority.issue_cert("me.test", common_name="me")
        eks = shaped(Shape(subject_key=False, authority_key=False, key_usage=False))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(address, "127.0.0.1", "api.test").configure_cert(self._context)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        authority.configure_trust(self._context)
        self._context.sni_callback = _keep_name
        self._servers = [
            self._serve("https", address, self._context),
            self._serve("http", address, None),
        ]
        self._proxy = socket.create_server((address, 0))
        threading.Thread(target=self._accept, daemon=True).start()
        https, plain = (server.server_address[1] for server in self._servers)
        self._to = {"https": (address, https), "http": (address, plain)}
        self.names = {
            "https": f"https://{address}:{https}",
            "plain": f"http://{address}:{plain}",
            "hostport": f"{address}:{plain}",
            "plain_port": str(plain),
            "port": str(https),
            "address": address,
            "proxy": f"{address}:{self._proxy.getsockname()[1]}",
            "dir": str(directory),
            "ca": _encoded(authority.cert_pem.bytes()),
            "leaf": _encoded(self._leaf(address, https)),
            "strangers": _encoded(strangers.cert_pem.bytes()),
            "eks": _encoded(eks.authority),
            "cert": _encoded(shown.cert_chain_pems[0].bytes()),
            "key": _encoded(shown.private_key_pem.bytes()),
        }
        self._pems = {
            "ca.pem": authority.cert_pem.bytes(),
            "cert.pem": shown.cert_chain_pems[0].bytes(),
            "key.pem": shown.private_key_pem.bytes(),
        }

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._proxy.close()

    def by_kubectl(self, case: Case) -> Sent:
        """Have kubectl ask."""
        with self._written(case) as environ:
            command = [str(self._kubectl), "get", "--raw", PATH]
            if case.named:
                command += ["--kubeconfig", str(self.directory / case.named)]
            if case.context:
                command += ["--context", case.context]
            done = subprocess.run(
                command,
                env=environ,
                cwd=self.directory.parent,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            return self._sent(done.stdout == "ok", done.stderr)

    async def by_lookaside(self, case: Case) -> Sent:
        """Have the service's client ask."""
        with self._written(case) as environ:
            named = str(self.directory / case.named) if case.named else None
            client = Client(discover(named, case.context, environ))
            answered, error = False, ""
            try:
                await client.prepare()
                async with client.open(PATH, {}, connect_timeout=20, read_timeout=20) as stream:
                    answered = await stream.read(100) == b"ok"
            except (ConfigError, KubernetesError) as caught:
                error = str(caught)
                answered = isinstance(caught, ApiStatus)
            finally:
                await client.close()
            return self._sent(answered, error)

    def _sent(self, answered: bool, error: str) -> Sent:
        told = self.directory / "told"
        lines = told.read_text().splitlines() if told.exists() else []
        return Sent(
            answered,
            sorted(self._requests),
            sorted(self._tunnels),
            [json.loads(line) if line.startswith("{") else line for line in lines if line],
            error,
        )

    @contextlib.contextmanager
    def _written(self, case: Case) -> Iterator[dict[str, str]]:
        """Write a case's files, forget what was sent, and enter with the environment."""
        self.directory.mkdir(parents=True)
        try:
            for name, pem in self._pems.items():
                (self.directory / name).write_bytes(pem)
            for name, text in case.files.items():
                path = self.directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                written = string.Template(text).safe_substitute(self.names)
                path.write_bytes(written.encode(errors="surrogateescape"))
                if text.startswith("#!"):
                    path.chmod(0o755)
            self._requests.clear()
            self._tunnels.clear()
            more = {
                key: string.Template(value).safe_substitute(self.names)
                for key, value in case.environ.items()
            }
            yield {"PATH": "/usr/bin:/bin", "HOME": str(self.directory / "home"), **more}
        finally:
            shutil.rmtree(self.directory)

    def _leaf(self, address: str, port: int) -> bytes:
        return ssl.get_server_certificate((address, port)).encode()

    def _serve(
        self, name: str, address: str, context: ssl.SSLContext | None
    ) -> http.server.ThreadingHTTPServer:
        requests = self._requests

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                peer: Any = self.connection
                headers = sorted(
                    f"{key.lower()}: {value}"
                    for key, value in self.headers.items()
                    if key.lower().startswith(_COMPARED)
                )
                certificate = peer.getpeercert() if context else None
                subject = str(certificate["subject"][-1]) if certificate else ""
                gzip = "gzip" in self.headers.get("Accept-Encoding", "")
                if self.path.endswith(PATH):
                    requests.append(
                        (name, self.path, *headers, subject, getattr(peer, "sni", ""), str(gzip))
                    )
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *args: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def finish_request(self, request: Any, client_address: Any) -> None:
                # Here and not in the accepting thread: a client that says nothing holds up nobody.
                if context is None:
                    super().finish_request(request, client_address)
                    return
                with (
                    contextlib.suppress(OSError),
                    context.wrap_socket(request, server_side=True) as secure,
                ):
                    super().finish_request(secure, client_address)

        server = Server((address, 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._proxy.accept()
                threading.Thread(target=self._tunnel, args=(accepted,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        """Do what a proxy does, whatever the host: connect to the one server of that kind."""
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (data := client.recv(65_536)):
                head += data
            first, *rest = head.decode().split("\r\n")
            own = [line for line in rest if line.lower().startswith("proxy-authorization")]
            self._tunnels.append(" ".join([*first.split()[:2], *own]))
            connects = first.startswith("CONNECT")
            with socket.create_connection(self._to["https" if connects else "http"]) as server:
                if connects:
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    server.sendall(head)
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _keep_name(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
    connection.sni = name or ""


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
