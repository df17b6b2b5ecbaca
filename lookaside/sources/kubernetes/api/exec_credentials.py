"""Exec plugins: programs that a kubeconfig names, which print a token or a certificate.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins,
as in client-go's plugin/pkg/client/auth/exec. A plugin is never asked on a terminal: a service has
none, so `interactive` is false.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Struct

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api.decode import Unreadable, decode
from lookaside.sources.kubernetes.api.kubeconfig_entries import Cluster, Exec

TIMEOUT = 30.0
_LONGEST = 2**20
_SHOWN = 300
_REAPED_WITHIN = 5.0


class Credential(Struct, frozen=True):
    """The credentials from a plugin.

    Attributes:
        token: A bearer token, or "".
        certificate: A client's certificate, PEM; None: no certificate.
        key: Its key.
        expires: When it is to be asked again, in seconds since 1970; None: never.
    """

    token: str
    certificate: bytes | None
    key: bytes | None
    expires: float | None

    def __repr__(self) -> str:
        return f"Credential(expires={self.expires})"


class _Status(Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None


class _Answer(Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    status: _Status | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


class ExecPlugin:
    """A plugin, and what it gave until that expires or is refused.

    Args:
        plugin: The plugin.
        cluster: The cluster that it is for.
        ca: The authorities of the cluster, PEM; None: the system's.
        environ: The environment that it is run in.
        timeout: How long it may take, in seconds.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        plugin: Exec,
        cluster: Cluster,
        ca: bytes | None,
        environ: Mapping[str, str],
        *,
        timeout: float = TIMEOUT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._plugin = plugin
        self._info = _info(plugin, cluster, ca)
        self._environ = environ
        self._timeout = timeout
        self._now = now
        self._held: Credential | None = None

    def __repr__(self) -> str:
        return f"<ExecPlugin {self._plugin.command!r}, {self._held!r}>"

    def is_for(self, plugin: Exec, cluster: Cluster, ca: bytes | None) -> bool:
        """Whether this one asks the same plugin the same."""
        return (self._plugin, self._info) == (plugin, _info(plugin, cluster, ca))

    async def credential(self) -> Credential:
        """Return what holds now; run the plugin if nothing does.

        One run at a time is the caller's concern. A run that is cancelled or takes too long leaves
        no process behind.

        Raises:
            ConfigError: It is not installed, fails, takes too long, or prints something else.
        """
        held = self._held
        if held is None or (held.expires is not None and self._now() > held.expires):
            self._held = held = self._read(await self._run())
        return held

    def forget(self) -> None:
        """Run the plugin next time: the API server refused what it gave."""
        self._held = None

    async def _run(self) -> bytes:
        environ = {**self._environ, **dict(self._plugin.env)}
        environ["KUBERNETES_EXEC_INFO"] = self._info
        program = shutil.which(self._plugin.command, path=self._environ.get("PATH"))
        if program is None:
            hint = _line(self._plugin.install_hint)
            raise self._error("is not found" + (f": {hint}" if hint else ""))
        try:
            transport, run = await _start(program, self._plugin.args, environ)
        except (OSError, ValueError) as error:
            raise self._error(f"can't be run: {error}") from error
        try:
            async with asyncio.timeout(self._timeout):
                await run.done
        except TimeoutError as error:
            raise self._error(f"has not ended within {self._timeout:g} s") from error
        finally:
            await _end(transport, run)
        if len(run.printed) > _LONGEST:
            raise self._error(f"prints more than {_LONGEST} bytes")
        code = transport.get_returncode()
        if code:
            said = _line(run.complained.decode(errors="replace"))
            raise self._error(f"failed with exit code {code}" + (f": {said}" if said else ""))
        return bytes(run.printed)

    def _read(self, printed: bytes) -> Credential:
        try:
            answer = decode(_ANSWER, printed)
        except Unreadable as error:
            raise self._error(f"prints no ExecCredential: {error}") from error
        expected = ("ExecCredential", self._plugin.api_version)
        if (answer.kind, answer.api_version) != expected:
            raise self._error(
                f"prints {answer.kind!r:.100} of {answer.api_version!r:.100}; "
                f"expected an ExecCredential of {self._plugin.api_version}"
            )
        status = answer.status
        if status is None:
            raise self._error("prints an ExecCredential without a status")
        certificate, key = status.client_certificate_data, status.client_key_data
        if bool(certificate) != bool(key):
            raise self._error("gives a certificate or a key, and not both")
        if not status.token and not certificate:
            raise self._error("gives neither a token nor a certificate")
        until = status.expiration_timestamp
        return Credential(
            status.token,
            certificate.encode() or None,
            key.encode() or None,
            None if until is None else until.timestamp(),
        )

    def _error(self, says: str) -> ConfigError:
        return ConfigError(f"the exec plugin {self._plugin.command!r} {says}")


def _info(plugin: Exec, cluster: Cluster, ca: bytes | None) -> str:
    """Return the plugin's input, as JSON, with the keys and omissions of client-go."""
    spec: dict[str, object] = {"interactive": False}
    if plugin.provide_cluster_info:
        told: dict[str, object] = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure,
            "certificate-authority-data": base64.b64encode(ca or b"").decode(),
            "proxy-url": cluster.proxy_url,
            "disable-compression": not cluster.compression,
        }
        spec["cluster"] = {
            **{key: value for key, value in told.items() if value or key == "server"},
            "config": cluster.exec_config,
        }
    return json.dumps({"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec})


class _Run(asyncio.SubprocessProtocol):
    """The output of a process, and the end of its stderr.

    Attributes:
        printed: Its standard output, read no further than one chunk beyond `_LONGEST`.
        complained: The end of its standard error.
        exited: Set when it has ended.
        done: Done when it has ended and both are read, or when it prints too much.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.printed = bytearray()
        self.complained = b""
        self.exited = asyncio.Event()
        self.done: asyncio.Future[None] = loop.create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.complained = (self.complained + data)[-4 * _SHOWN :]
        elif len(self.printed) <= _LONGEST:
            self.printed += data
            if len(self.printed) > _LONGEST:
                self._finish()

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def _start(
    program: str, args: Sequence[str], environ: Mapping[str, str]
) -> tuple[asyncio.SubprocessTransport, _Run]:
    """Run a program in a session of its own, without a terminal and without input."""
    loop = asyncio.get_running_loop()
    starting = asyncio.ensure_future(
        loop.subprocess_exec(
            lambda: _Run(loop),
            program,
            *args,
            stdin=asyncio.subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # asyncio, cancelled here, would kill the program alone and wait for its children's pipes.
        with contextlib.suppress(OSError, ValueError):
            await _end(*await starting)
        raise


async def _end(transport: asyncio.SubprocessTransport, run: _Run) -> None:
    """Kill what a process left in its group, itself included, and wait until it is reaped."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(transport.get_pid(), signal.SIGKILL)
    # Closes the pipes too, which a process in another session may hold.
    transport.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REAPED_WITHIN):
            await run.exited.wait()


def _line(text: str) -> str:
    """Return the end of a text as one line that a terminal can show."""
    line = " ".join(text.split())[-_SHOWN:]
    return "".join(character if character.isprintable() else "?" for character in line)
