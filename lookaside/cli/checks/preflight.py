"""The checks of `lookaside check`. A failed check does not stop the next."""

import asyncio
import difflib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from lookaside.api.tls import TlsFiles, server_credentials
from lookaside.cli.balancer.tls import served
from lookaside.cli.checks import ports as listening
from lookaside.cli.checks.outcome import Outcome
from lookaside.cli.errors import Failure
from lookaside.config import (
    OTHER_VARIABLES,
    PREFIX,
    SETTINGS,
    Settings,
    SourceSetting,
    document,
)
from lookaside.errors import ConfigError
from lookaside.sources import dns, endpoints_file
from lookaside.sources.kubernetes import (
    REVIEW_TOKENS,
    Client,
    KubernetesAccess,
    Right,
    discover,
    watched,
)
from lookaside.sources.kubernetes.api.errors import ApiStatus, KubernetesError

# What the kubelet sets of each Service whose name begins with lookaside.
_BY_KUBERNETES = re.compile(r"_(?:SERVICE_(?:HOST|PORT)|PORT)(?:_|$)")
_SHORT_OF_RIGHTS = (401, 403)
_NO_SUCH_PATH = 404
_TAKEN = "another process listens there; use --no-ports if it is the service itself"


def variables(environ: Mapping[str, str]) -> Iterator[Outcome]:
    """Yield a warning for each variable that is named as a setting's would be, and is none."""
    known = {*OTHER_VARIABLES, *(setting.variable for setting in SETTINGS)}
    for name in sorted(environ.keys() - known):
        if name.startswith(PREFIX) and not _BY_KUBERNETES.search(name):
            # Of their whole names, which begin alike, all are near.
            own = {each.removeprefix(PREFIX): each for each in known}
            near = difflib.get_close_matches(name.removeprefix(PREFIX), own, n=1)
            hint = f"did you mean {own[near[0]]}?" if near else "serve --help has all settings"
            yield Outcome("environment", "warning", f"{name} sets nothing", hint)


async def run(settings: Settings, seconds: float, *, ports: bool) -> AsyncIterator[Outcome]:
    """Yield what each check finds.

    Args:
        settings: What the service would run with.
        seconds: How long an answer of another machine may take.
        ports: Whether it is tried to listen.
    """
    yield _sources_given(settings)
    for source in settings.sources:
        if source.kind == "file":
            yield await asyncio.to_thread(_file, source, settings)
        elif source.kind == "dns":
            yield await _name(source, seconds)
    async for outcome in _cluster(settings, seconds):
        yield outcome
    for outcome in (*_tls(settings), *_access(settings)):
        yield outcome
    for outcome in listening.look(settings, _TAKEN) if ports else ():
        yield outcome


def _sources_given(settings: Settings) -> Outcome:
    if settings.sources:
        return Outcome("settings", "ok", f"sources {', '.join(map(str, settings.sources))}")
    return Outcome("settings", "failed", "no source is given", "set --source")


def _file(source: SourceSetting, settings: Settings) -> Outcome:
    path = Path(source.argument)
    try:
        records = endpoints_file.parse(
            document.load(path, "the endpoints file"),
            str(path),
            default_namespace=settings.default_namespace,
            cluster_domain=settings.cluster_domain,
        )
    except ConfigError as error:
        return Outcome(str(source), "failed", str(error), "the service would not start")
    endpoints = sum(len(record.endpoints[""]) for record in records)
    return Outcome(str(source), "ok", f"services {len(records)}, endpoints {endpoints}")


async def _name(source: SourceSetting, seconds: float) -> Outcome:
    host, _, port = source.argument.rpartition(":")
    try:
        async with asyncio.timeout(seconds):
            addresses = await dns.resolve_by_system(host, int(port))
    except dns.Unresolved as error:
        return Outcome(str(source), "failed", str(error), "the service waits until it resolves")
    except TimeoutError:
        return Outcome(str(source), "failed", f"{host}: no answer in time", "raise --timeout")
    return Outcome(str(source), "ok", f"addresses {', '.join(sorted(set(addresses)))}")


async def _cluster(settings: Settings, seconds: float) -> AsyncIterator[Outcome]:
    rights: list[Right] = []
    if any(source.kind == "kubernetes" for source in settings.sources):
        for namespace in settings.namespaces or (None,):
            rights += watched(namespace, pods=settings.pods)
    if settings.token_audience:
        rights.append(REVIEW_TOKENS)
    if not rights:
        return
    client, check = Client(discover(settings.kubeconfig, settings.context)), "API server"
    try:
        await client.prepare()
        access = KubernetesAccess(client, seconds)
        yield await _api_server(access, client.host)
        check = "rights"
        for right in rights:
            yield await _right(access, right)
    except ConfigError as error:
        yield Outcome(check, "failed", str(error), "the service would not start")
    except KubernetesError as error:
        yield Outcome(check, "failed", str(error), _hint(error, client.host))
    finally:
        await client.close()


async def _api_server(access: KubernetesAccess, host: str) -> Outcome:
    try:
        version = await access.version()
    except ApiStatus as error:
        # Who may ask for its version is a matter of its own: that it answers is enough.
        if error.code != 403:
            raise
        version = "of a version that it does not tell"
    return Outcome("API server", "ok", f"Kubernetes {version} at {host}")


async def _right(access: KubernetesAccess, right: Right) -> Outcome:
    missing = await access.refused(right)
    if missing:
        return Outcome(str(right), "failed", f"may not {' or '.join(missing)}", right.rule)
    return Outcome(str(right), "ok", "allowed")


def _hint(error: KubernetesError, host: str) -> str:
    if isinstance(error, ApiStatus):
        if error.code in _SHORT_OF_RIGHTS:
            return "the server rejects the token, or the user of the kubeconfig file"
        if error.code != _NO_SUCH_PATH:
            return "see the API server's log"
    return f"what is asked is {host}; set --kubeconfig or --context for another one"


def _tls(settings: Settings) -> Iterator[Outcome]:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        server_credentials(TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca))
        names, until = served(settings.tls_cert, settings.tls_key)
    except ConfigError as error:
        yield Outcome("TLS", "failed", str(error), "the service would not start")
        return
    except Failure as error:
        yield Outcome("TLS", "failed", error.message, "replace the certificate")
        return
    if not names:
        yield Outcome(
            "TLS",
            "failed",
            f"{settings.tls_cert} has no name as subjectAltName",
            "clients check the balancer's name there",
        )
        return
    yield Outcome("TLS", "ok", f"for {', '.join(names)}, until {until}")


def _access(settings: Settings) -> Iterator[Outcome]:
    if not settings.allow:
        yield Outcome(
            "access",
            "warning",
            "authorization disabled: any caller may query any service",
            "restrict that with --allow",
        )
    if settings.token_audience and not settings.tls_cert:
        yield Outcome(
            "access",
            "warning",
            "tokens are sent in plain text: anyone who sees one can use it",
            "set --tls-cert and --tls-key",
        )
