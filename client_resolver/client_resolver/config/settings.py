"""A channel's settings, checked once and frozen: what both shells are built from."""

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import grpc

from client_resolver._pb import lookaside_pb2
from client_resolver.config.config_fields import MAX_TABLE_SIZE
from client_resolver.config.dial import Dial, Dialing
from client_resolver.config.keywords import HashKey, Keywords, Options
from client_resolver.config.service_config import ServiceConfig, parse_service_config
from client_resolver.config.target import (
    DnsTarget,
    LookasideTarget,
    StaticTarget,
    Target,
    parse_fallback,
    parse_target,
)
from client_resolver.config.validation import check_arguments, check_token
from client_resolver.core.backoff import FullJitter
from client_resolver.core.config import PoolConfig, PoolOptions
from client_resolver.core.machine import Machine
from client_resolver.core.model import Endpoint, Revision
from client_resolver.core.picker import PolicyFactory
from client_resolver.core.pool import Pool
from client_resolver.core.watch import Watch
from client_resolver.resolver import Resolve
from client_resolver.resolver.bearer_token import Token
from client_resolver.telemetry.observer import Observer

__all__ = ["Settings", "describe"]


def _pings(time: float, timeout: float) -> dict[str, object]:
    """Return the channel arguments for pings every `time` s that are answered in `timeout` s."""
    return {
        "grpc.keepalive_time_ms": round(time * 1000),
        "grpc.keepalive_timeout_ms": round(timeout * 1000),
        # Of the two it is this one, a minute by default, that C-core 1.85 ends a connection by.
        "grpc.http2.ping_timeout_ms": round(timeout * 1000),
        "grpc.keepalive_permit_without_calls": 1,
        # C-core sends no more than two pings without data otherwise.
        "grpc.http2.max_pings_without_data": 0,
    }


_CONNECTION_OPTIONS: Mapping[str, object] = {
    # Two channels with equal arguments share a connection otherwise.
    "grpc.use_local_subchannel_pool": 1,
    # C-core applies http_proxy even to IP addresses.
    "grpc.enable_http_proxy": 0,
    # By default, a backend that was away for 20 s is found again only 5 s after it is back.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2000,
    # The least time that an attempt to connect gets, whatever its name says. A slow TLS handshake
    # may need all of what gRPC allows by default: other backends are tried meanwhile.
    "grpc.min_reconnect_backoff_ms": 20_000,
}
_BALANCER_OPTIONS: Mapping[str, object] = {
    **_CONNECTION_OPTIONS,
    # A watch is silent for as long as nothing changes: only pings tell a dead one.
    **_pings(30, 10),
    # A Service's address leads every try of one attempt to the same replica: one that is gone must
    # not keep it for long. The next attempt may be led to another.
    "grpc.min_reconnect_backoff_ms": 5000,
    # A list of 21 000 endpoints with Kubernetes' metadata is larger than gRPC's default of 4 MiB.
    "grpc.max_receive_message_length": 64 * 1024 * 1024,
    # With the largest `watch_backoff` on top, a client is back within 5 s of its balancer.
    "grpc.max_reconnect_backoff_ms": 1000,
    # Balancers that come back at other addresses are found in that time as well.
    "grpc.dns_min_time_between_resolutions_ms": 1000,
    # Clients spread over the addresses of a name that has several (gRFC A62).
    "grpc.service_config": '{"loadBalancingConfig":[{"pick_first":{"shuffleAddressList":true}}]}',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a channel is made of. What is not told here is as in `Keywords`.

    Attributes:
        target: What the channel was asked for.
        fallback: The target that replaces it until a balancer has sent a list. None: none.
        config: The service config that the channel was given, or the default.
        own_config: Whether it was given one: then the balancer's has no effect.
        policy: The policy that goes before the one of any service config. None: none does.
        credentials: Of the backends' connections. None: insecure.
        compression: The default of the backends' channels.
        options: The channel arguments of the backends' channels, less the service config.
        balancer_options: The channel arguments of the balancer's channel.
        client: The client's identity in requests to the balancer.
    """

    target: Target
    fallback: DnsTarget | StaticTarget | None
    config: ServiceConfig
    own_config: bool
    policy: str | Mapping[str, object] | None
    policies: Mapping[str, PolicyFactory]
    max_table_size: int
    hash_key: HashKey | None
    credentials: grpc.ChannelCredentials | None
    compression: grpc.Compression | None
    options: tuple[tuple[str, object], ...]
    dial: Dial | None
    lazy: bool
    idle_timeout: float | None
    connections_per_backend: int
    drain_timeout: float | None
    subset_size: int | None
    client: lookaside_pb2.Client
    balancer_credentials: grpc.ChannelCredentials | None
    balancer_options: tuple[tuple[str, object], ...]
    balancer_token: Token | None
    watch_backoff: tuple[float, float]
    older_revision_hold: float
    snapshot_path: Path | None
    resolvers: Mapping[str, Resolve]
    refresh_interval: float
    observers: tuple[Observer, ...]

    @classmethod
    def of(
        cls,
        target: str,
        credentials: grpc.ChannelCredentials | None,
        options: Options | None,
        compression: grpc.Compression | None,
        given: Keywords,
    ) -> "Settings":
        """Check the arguments of a channel.

        Raises:
            TargetError: A target cannot be understood.
            ServiceConfigError: The service config cannot be understood.
            TypeError, ValueError: See `check_arguments` and `check_token`.
        """
        if isinstance(options, Iterable) and not isinstance(options, Sequence | Mapping):
            options = tuple(options)
        check_arguments(given, options)
        given = cast("Keywords", {k: v for k, v in given.items() if v is not None})
        environ = os.environ
        resolvers = given.get("resolvers", {})
        parsed = parse_target(target, environ, resolvers)
        if isinstance(parsed, LookasideTarget):
            check_token(given)
        arguments = _by_name(options)
        in_options = arguments.pop("grpc.service_config", None)
        named = arguments.pop("grpc.lb_policy_name", None)
        service_config = given.get("service_config")
        if service_config is None and in_options is not None:
            service_config = str(in_options)
        policy, policies = given.get("policy"), given.get("policies", {})
        max_table_size = given.get("max_table_size", MAX_TABLE_SIZE)
        name = None if named is None else str(named)
        config = parse_service_config(service_config, policy, name, policies, max_table_size)
        defaults = dict(_CONNECTION_OPTIONS)
        if keepalive := given.get("keepalive"):
            defaults |= _pings(*keepalive)
        if parsed.authority and "grpc.ssl_target_name_override" not in arguments:
            # The name that the certificate is checked against is the authority, too: gRPC refuses
            # an RPC whose authority is another.
            defaults["grpc.default_authority"] = parsed.authority
        fallback = given.get("fallback")
        snapshot_path = given.get("snapshot_path")
        return cls(
            target=parsed,
            fallback=None if fallback is None else parse_fallback(fallback, parsed),
            config=config,
            own_config=service_config is not None or named is not None,
            policy=policy,
            policies=policies,
            max_table_size=max_table_size,
            hash_key=given.get("hash_key"),
            credentials=credentials,
            compression=compression,
            options=tuple({**defaults, **arguments}.items()),
            dial=given.get("dial"),
            lazy=given.get("connect") == "lazy",
            idle_timeout=given.get("idle_timeout"),
            connections_per_backend=given.get("connections_per_backend", 1),
            drain_timeout=given.get("drain_timeout"),
            subset_size=given.get("subset_size"),
            client=_client(given, environ),
            balancer_credentials=given.get("balancer_credentials"),
            balancer_options=tuple(
                {**_BALANCER_OPTIONS, **_by_name(given.get("balancer_options"))}.items()
            ),
            balancer_token=given.get("balancer_token"),
            watch_backoff=given.get("watch_backoff", (0.1, 3.0)),
            older_revision_hold=given.get("older_revision_hold", 30.0),
            snapshot_path=None if snapshot_path is None else Path(snapshot_path),
            resolvers=resolvers,
            refresh_interval=given.get("refresh_interval", 30.0),
            observers=tuple(given.get("observers", ())),
        )

    def parse(self, text: str) -> ServiceConfig:
        """Read a service config that the balancer sends.

        Raises:
            ServiceConfigError: It cannot be understood.
        """
        return parse_service_config(text, self.policy, None, self.policies, self.max_table_size)

    def dialling(
        self, endpoint: Endpoint, config: ServiceConfig
    ) -> tuple[grpc.ChannelCredentials | None, tuple[tuple[str, object], ...]]:
        """Return the credentials and channel arguments of a connection to a backend.

        Args:
            endpoint: The backend.
            config: The service config that holds as the connection is opened.
        """
        credentials, options = self.credentials, self.options
        if config.forwarded:
            options = (*options, ("grpc.service_config", config.forwarded))
        dialing = None if self.dial is None else self.dial(endpoint)
        if dialing is None:
            return credentials, options
        if not isinstance(dialing, Dialing):
            raise TypeError(f"dial returned {dialing!r}: a Dialing or None is wanted")
        own = dict(dialing.options)
        if dialing.authority:
            own["grpc.default_authority"] = dialing.authority
        options = tuple({**dict(options), **own}.items())
        return dialing.credentials or credentials, options

    def request(self, known: Revision | None) -> lookaside_pb2.WatchServersRequest:
        """What the balancer is asked for by a channel that holds this revision of the list."""
        request = lookaside_pb2.WatchServersRequest(
            service_name=self.target.service if isinstance(self.target, LookasideTarget) else "",
            client=self.client,
            deltas=True,
            subset_size=self.subset_size or 0,
        )
        if known is not None:
            request.known.digest = known.digest
            request.known.version = known.version
            request.known.epoch = known.epoch
        return request

    def machine(
        self, rng: Random, adopt: Callable[[str], PoolConfig], now: Callable[[], float]
    ) -> "Machine[Any]":
        """Make the state machine of one channel.

        Args:
            rng: The source of all that is drawn.
            adopt: Is asked for the config that holds with each list.
            now: The monotonic clock of the machine's owner, in seconds.
        """
        by_balancer = isinstance(self.target, LookasideTarget)
        options = PoolOptions(
            drain_timeout=self.drain_timeout,
            lazy=self.lazy,
            idle_timeout=self.idle_timeout,
            connections_per_backend=self.connections_per_backend,
            subset_size=None if by_balancer else self.subset_size,
            client_id=self.client.id,
            zone=self.client.zone,
            node=self.client.node,
            observed=bool(self.observers),
        )
        backoff = FullJitter(*self.watch_backoff, rng)
        balancers = len(self.target.balancers) if isinstance(self.target, LookasideTarget) else 1
        fallback = self.fallback is not None
        hold = self.older_revision_hold
        watch = Watch(self.target.source, backoff, hold, balancers, fallback=fallback)
        pool: Pool[Any] = Pool(self.config.pool, rng, now, options)
        return Machine(pool, watch, adopt)

    def undrained(self, address: str) -> str:
        """The details of an RPC that a backend has not finished within the time to drain."""
        timeout = f"the drain timeout of {self.drain_timeout:g} s"
        return self.explain(f"{address} has left the list, and {timeout} has passed")

    def explain(self, reason: str) -> str:
        """The details of a failure: what was asked for, and why there is no backend for it."""
        return f"{self.target.text}: {reason}"


def _client(given: Keywords, environ: Mapping[str, str]) -> lookaside_pb2.Client:
    zone, node = given.get("zone"), given.get("node")
    default = environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    return lookaside_pb2.Client(
        id=given.get("client_id") or default,
        zone=environ.get("LOOKASIDE_ZONE", "") if zone is None else zone,
        node=environ.get("LOOKASIDE_NODE", "") if node is None else node,
    )


def describe(settings: Settings, machine: Machine[Any], *, closed: bool, started: bool) -> str:
    """Say what a channel is doing, for its `repr`."""
    doing = "closed" if closed else machine.outlook.connectivity.name if started else "not started"
    backends = ", ".join(map(repr, list(machine.pool)))
    return f"{settings.target.text} {machine.config.policy.name}: {doing} [{backends}]"


def _by_name(options: Options | None) -> dict[str, object]:
    """Return channel arguments by their names, which grpc takes as bytes as well."""
    return {
        name.decode() if isinstance(name, bytes) else name: value for name, value in options or ()
    }
