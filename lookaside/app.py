"""The composition root: builds everything from the settings, and owns start, drain and stop."""

import asyncio
import gc
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import uvloop

from lookaside import logging
from lookaside.admin.connections import ConnectionBounds
from lookaside.admin.server import AdminServer
from lookaside.admin.status import MOST_SERVICES, ServiceStatus, SourceStatus, Status
from lookaside.api.authorization import Authorizer
from lookaside.api.calls import Bounds
from lookaside.api.server import Doors, GrpcServer
from lookaside.api.tls import TlsFiles
from lookaside.api.token_cache import TokenCache
from lookaside.api.watch import WatchLimits
from lookaside.api.wire import WireEncoder
from lookaside.api.worker import LoopWorker, watch_lag
from lookaside.config import SOURCE_FORMS, Settings, SourceSetting
from lookaside.errors import ConfigError, NotSynced
from lookaside.metrics import Metrics
from lookaside.model import ServiceName
from lookaside.registry.feed import SourceFeed
from lookaside.registry.inputs import MergeOptions
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store
from lookaside.sources import Source
from lookaside.sources.dns import DnsSource
from lookaside.sources.kubernetes import (
    Client,
    KubernetesSettings,
    KubernetesSource,
    KubernetesTokens,
    discover,
)
from lookaside.sources.static_file import StaticFileSource
from lookaside.sources.supervision import SupervisedSource

VERSION = version("lookaside-lb")

_log = logging.get_logger("app")


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError: The service can't run as it is set up.
    """
    logging.configure(settings.log_level, settings.log_format)
    spare_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


def spare_collector() -> None:
    """Have the cyclic garbage collector keep the event loop for no longer than a step may take.

    A collection goes through every object that it tracks, in one go. The records of a cluster are
    not tracked (`gc=False`: they are in no cycles); what the modules hold for good is left out from
    here on, and the young are looked at in portions of a millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 3, 100)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        starting = asyncio.ensure_future(stack.enter_async_context(App(settings)))

        def end() -> None:
            stop.set()
            # Until something is served, what is waited for may take long: an exec plugin, say.
            starting.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, end)
        try:
            app = await starting
        except asyncio.CancelledError:
            if stop.is_set():
                return
            raise
        await app.run(stop)


class App:
    """The whole service, as an async context manager: listening inside, stopped after.

    Args:
        settings: What to serve, and where.
        bounds: What callers of gRPC may take.
        admin_bounds: What connections to the admin port may take.

    Raises:
        ConfigError: The service can't run as it is set up.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        bounds: Bounds | None = None,
        admin_bounds: ConnectionBounds | None = None,
    ) -> None:
        if not settings.sources:
            raise ConfigError(f"no source is given; expected --source {SOURCE_FORMS}")
        self._settings = settings
        self._started = time.monotonic()
        names = [str(source) for source in settings.sources]
        self._metrics = Metrics(VERSION)
        # The collector counts by how many objects there are more: while a list takes the place of
        # another there are no more, and a hundred thousand are young at once.
        self._worker = LoopWorker(tidy=partial(gc.collect, 0))
        self._readiness = Readiness(names, self._worker)
        self._store = Store(
            names,
            encoder=WireEncoder(),
            observer=self._metrics,
            clock=time.monotonic,
            synced=self._synced,
            worker=self._worker,
        )
        self._metrics.follow_snapshots(lambda: self._store.lists)
        self._sources = [
            SupervisedSource(self._source(source), self._metrics) for source in settings.sources
        ]
        for source in self._sources:
            self._metrics.expect(source.name, source.reasons)
            self._store.feeds[source.name].follow_trouble(partial(_trouble, source))
        parse = partial(
            ServiceName.parse,
            default_namespace=settings.default_namespace,
            cluster_domain=settings.cluster_domain,
        )
        self._tokens = _tokens(settings)
        self._grpc = GrpcServer(
            self._store,
            self._readiness,
            self._metrics,
            authorizer=Authorizer(settings.allow, _token_cache(self._tokens, settings)),
            parse=parse,
            limits=WatchLimits(settings.max_watch_age, settings.write_timeout),
            listen=settings.listen.target,
            tls=_tls(settings),
            describe=settings.reflection,
            worker=self._worker,
            bounds=bounds,
            doors=Doors(settings.grpclb, settings.load_reports, settings.xds),
        )
        self._admin = settings.admin and AdminServer(
            settings.admin,
            self._metrics,
            not_ready=lambda: list(self._not_ready()),
            lacking=lambda: list(self._lacking()),
            status=self._status,
            bounds=admin_bounds,
        )

    @property
    def grpc_port(self) -> int:
        """The port that gRPC is served on."""
        return self._grpc.port

    @property
    def admin_port(self) -> int | None:
        """The port that the admin HTTP server listens on; None where it is off."""
        return self._admin.port if self._admin else None

    async def __aenter__(self) -> Self:
        for source in self._sources:
            await source.prepare()
        if self._tokens:
            await self._tokens.prepare()
        self._warn()
        if self._admin:
            await self._admin.start()
        await self._grpc.start()
        _log.info(
            "serving",
            version=VERSION,
            port=self._grpc.port,
            admin_port=self.admin_port,
            sources=[source.name for source in self._sources],
            tls=self._settings.tls_cert is not None,
            mutual_tls=self._settings.tls_client_ca is not None,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _log.info("draining", watchers=self._store.watchers, grace=self._settings.grace)
        await self._grpc.stop(self._settings.grace)
        if self._tokens:
            await self._tokens.close()
        if self._admin:
            await self._admin.stop()
        _log.info("stopped")

    async def run(self, stop: asyncio.Event) -> None:
        """Feed the store until told to stop."""
        tasks = [asyncio.create_task(source.run(), name=source.name) for source in self._sources]
        tasks.append(asyncio.create_task(watch_lag(self._metrics.loop_lag), name="loop lag"))
        try:
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _source(self, source: SourceSetting) -> Source:
        name = str(source)
        feed = self._store.feeds[name]
        if source.kind == "file":
            return StaticFileSource(
                name,
                Path(source.argument),
                feed,
                self._metrics,
                default_namespace=self._settings.default_namespace,
                cluster_domain=self._settings.cluster_domain,
                stale_after=self._settings.stale_after,
            )
        if source.kind == "dns":
            host, _, port = source.argument.rpartition(":")
            return DnsSource(
                name,
                host,
                int(port),
                feed,
                self._metrics,
                default_namespace=self._settings.default_namespace,
                family=self._settings.address_family,
                interval=self._settings.dns_interval,
                stale_after=self._settings.stale_after,
            )
        return KubernetesSource(
            name,
            feed,
            self._metrics,
            Client(discover(self._settings.kubeconfig, self._settings.context)),
            namespaces=self._settings.namespaces,
            options=MergeOptions(self._settings.address_family, self._settings.metadata_labels),
            settings=_kubernetes(self._settings),
            worker=self._worker,
        )

    def _warn(self) -> None:
        if not self._settings.allow:
            _log.warning(
                "authorization disabled: any caller may query any service; restrict it with --allow"
            )
        if self._settings.token_audience and not self._settings.tls_cert:
            _log.warning(
                "tokens are sent in plain text: anyone who sees one can use it; set --tls-cert"
            )

    def _synced(self, source: str) -> None:
        feed = self._store.feeds[source]
        _log.info("synced", source=source, services=len(feed.records), endpoints=feed.endpoints)
        self._metrics.source_synced(source)
        self._readiness.synced(source)

    def _not_ready(self) -> Iterator[str]:
        if self._readiness.draining:
            yield "shutting down"
        for source in self._sources:
            if source.name in self._readiness.unsynced:
                cause = f": {source.trouble}" if source.trouble else ""
                yield f"{source.name}: the first list is still to come{cause}"

    def _lacking(self) -> Iterator[str]:
        """Yield what is not known, or not known to hold, though the rest is served."""
        for feed in self._store.feeds.values():
            for namespace, why in feed.missing.items():
                yield f"{feed.source}: nothing is known of namespace {namespace}: {why}"
            for namespace, why in feed.lost.items():
                yield f"{feed.source}: what is known of namespace {namespace} is old: {why}"

    async def _status(self) -> Status:
        services: list[tuple[ServiceName, str, str, int]] = []
        ports = 0
        if not self._store.unsynced:
            with suppress(NotSynced):
                services, ports = await self._worker.run(self._store.overview(MOST_SERVICES))
        return Status(
            version=VERSION,
            uptime=time.monotonic() - self._started,
            watchers=self._store.watchers,
            sources=[
                _source_status(self._store.feeds[source.name], source.trouble)
                for source in self._sources
            ],
            services=[
                ServiceStatus(str(name), source, state, count)
                for name, source, state, count in services
            ],
            ports=ports,
        )


def _tls(settings: Settings) -> TlsFiles | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _kubernetes(settings: Settings) -> KubernetesSettings:
    return KubernetesSettings(
        stale_after=settings.stale_after,
        debounce=settings.debounce,
        mass_removal=settings.mass_removal / 100,
        namespace_grace=settings.namespace_grace,
        pods=settings.pods,
        pod_selector=settings.pod_selector or "",
    )


def _tokens(settings: Settings) -> KubernetesTokens | None:
    if settings.token_audience is None:
        return None
    client = Client(discover(settings.kubeconfig, settings.context))
    return KubernetesTokens(client, settings.token_audience)


def _trouble(source: Source, namespace: str) -> str:
    return source.trouble_in(namespace) if namespace else source.trouble


def _token_cache(tokens: KubernetesTokens | None, settings: Settings) -> TokenCache | None:
    if tokens is None or settings.token_audience is None:
        return None
    return TokenCache(tokens, settings.token_audience)


def _source_status(feed: SourceFeed, trouble: str) -> SourceStatus:
    state = "syncing"
    if feed.synced:
        state = "stale" if feed.stale else "failing" if trouble else "synced"
    return SourceStatus(
        feed.source, state, len(feed.records), feed.endpoints, feed.version, trouble
    )
