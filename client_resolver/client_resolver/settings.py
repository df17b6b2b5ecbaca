"""A channel's settings, checked once and frozen: what both shells are built from."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

import grpc

from client_resolver._pb import lookaside_pb2
from client_resolver.core.backends import Pool
from client_resolver.core.backoff import FullJitter
from client_resolver.core.machine import Machine
from client_resolver.core.model import Endpoint, Revision, ServerList
from client_resolver.core.picker import Policy
from client_resolver.core.watch import Watch
from client_resolver.service_config import ServiceConfig, parse_service_config
from client_resolver.target import LookasideTarget, Target, parse_target

__all__ = ["Options", "ServiceConfigLike", "Settings", "describe"]

Options: TypeAlias = Sequence[tuple[str, object]]
"""Channel arguments as grpc takes them."""

ServiceConfigLike: TypeAlias = str | Mapping[str, object]
"""A service config as JSON, or as what JSON gives."""

_CONNECTION_OPTIONS: Mapping[str, object] = {
    # Two channels with equal arguments share a connection otherwise.
    "grpc.use_local_subchannel_pool": 1,
    # C-core applies http_proxy even to IP addresses.
    "grpc.enable_http_proxy": 0,
    # By default, a backend that was away for 20 s is found again only 5 s after it is back.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2000,
    # The least time that an attempt to connect gets, whatever its name says: a busy backend may
    # need more than 100 ms for its handshake.
    "grpc.min_reconnect_backoff_ms": 5000,
}
_BALANCER_OPTIONS: Mapping[str, object] = {
    **_CONNECTION_OPTIONS,
    # A watch is silent for as long as nothing changes: only pings tell a dead one.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.keepalive_permit_without_calls": 1,
    # With the largest `watch_backoff` on top, a client is back within 5 s of its balancer.
    "grpc.max_reconnect_backoff_ms": 1000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a channel is made of.

    Attributes:
        target: What the channel was asked for.
        config: The service config that the channel was given, or the default.
        own_config: Whether it was given one: then the balancer's has no effect.
        credentials: Of the backends' connections. None: insecure.
        compression: The default of the backends' channels.
        options: The channel arguments of the backends' channels, less the service config.
        balancer_credentials: Of the balancer's connection. None: insecure.
        balancer_options: The channel arguments of the balancer's channel.
        client: Who asks, as the balancer is told.
        subset_size: How many of the servers are wanted. None: all.
        watch_backoff: The first and the largest bound of the wait before the watch is tried again,
            in seconds.
        older_revision_hold: How long a list that is known to be older is put off, in seconds.
        drain_timeout: How long a backend that has left the list may finish its RPCs, in seconds.
            None: as long as they take.
    """

    target: Target
    config: ServiceConfig
    own_config: bool
    credentials: grpc.ChannelCredentials | None
    compression: grpc.Compression | None
    options: tuple[tuple[str, object], ...]
    balancer_credentials: grpc.ChannelCredentials | None
    balancer_options: tuple[tuple[str, object], ...]
    client: lookaside_pb2.Client
    subset_size: int | None
    watch_backoff: tuple[float, float]
    older_revision_hold: float
    drain_timeout: float | None

    @classmethod
    def of(
        cls,
        target: str,
        credentials: grpc.ChannelCredentials | None,
        options: Options | None,
        compression: grpc.Compression | None,
        *,
        service_config: ServiceConfigLike | None,
        balancer_credentials: grpc.ChannelCredentials | None,
        balancer_options: Options | None,
        client_id: str | None,
        zone: str | None,
        node: str | None,
        subset_size: int | None,
        watch_backoff: tuple[float, float],
        older_revision_hold: float,
        drain_timeout: float | None,
    ) -> "Settings":
        """Check the arguments of a channel.

        Raises:
            TargetError: The target cannot be understood.
            ServiceConfigError: The service config cannot be understood.
            ValueError: A number is out of its range.
        """
        environ = os.environ
        initial, maximum = watch_backoff
        if not 0 < initial <= maximum:
            raise ValueError(f"watch_backoff {watch_backoff} is not two rising positive numbers")
        if subset_size is not None and not 0 < subset_size < 2**32:
            raise ValueError(f"subset_size {subset_size} is not from 1 to {2**32 - 1}")
        if older_revision_hold < 0:
            raise ValueError(f"older_revision_hold {older_revision_hold} is negative")
        if drain_timeout is not None and drain_timeout < 0:
            raise ValueError(f"drain_timeout {drain_timeout} is negative")
        parsed = parse_target(target, environ)
        given = dict(options or ())
        in_options = given.pop("grpc.service_config", None)
        named = given.pop("grpc.lb_policy_name", None)
        if service_config is None:
            service_config = _text(in_options)
        config = parse_service_config(service_config, _text(named))
        defaults = dict(_CONNECTION_OPTIONS)
        if isinstance(parsed, LookasideTarget):
            defaults["grpc.default_authority"] = parsed.authority
        return cls(
            target=parsed,
            config=config,
            own_config=service_config is not None or named is not None,
            credentials=credentials,
            compression=compression,
            options=tuple({**defaults, **given}.items()),
            balancer_credentials=balancer_credentials,
            balancer_options=tuple({**_BALANCER_OPTIONS, **dict(balancer_options or ())}.items()),
            client=lookaside_pb2.Client(
                id=client_id or environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
                zone=zone if zone is not None else environ.get("LOOKASIDE_ZONE", ""),
                node=node if node is not None else environ.get("LOOKASIDE_NODE", ""),
            ),
            subset_size=subset_size,
            watch_backoff=(initial, maximum),
            older_revision_hold=older_revision_hold,
            drain_timeout=drain_timeout,
        )

    @property
    def balancer(self) -> str:
        """The balancer's address. Empty: the target has none."""
        return self.target.balancer.text if isinstance(self.target, LookasideTarget) else ""

    @property
    def balancer_target(self) -> str:
        """The gRPC target of the balancer. Empty: the target has none."""
        return self.target.balancer.target if isinstance(self.target, LookasideTarget) else ""

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

    def connection_options(self, config: ServiceConfig) -> tuple[tuple[str, object], ...]:
        """The channel arguments of a backend's channel that is opened while a config holds."""
        if not config.forwarded:
            return self.options
        return (*self.options, ("grpc.service_config", config.forwarded))

    def fixed(self) -> ServerList | None:
        """The list of a target that needs no balancer. None: it needs one."""
        if isinstance(self.target, LookasideTarget):
            return None
        return ServerList(tuple(Endpoint(address) for address in self.target.addresses))

    def machine(self, rng: Random, adopt: Callable[[str], Policy]) -> "Machine[Any]":
        """Make the state machine of one channel. `adopt` is asked for the policy of each list."""
        backoff = FullJitter(*self.watch_backoff, rng)
        watch = Watch(self.balancer, backoff, self.older_revision_hold)
        pool: Pool[Any] = Pool(self.config.policy, rng, self.drain_timeout)
        return Machine(pool, watch, adopt)

    def explain(self, reason: str) -> str:
        """The details of a failure: what was asked for, and why there is no backend for it."""
        return f"{self.target.text}: {reason}"


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def describe(settings: Settings, machine: Machine[Any], *, closed: bool, started: bool) -> str:
    """Say what a channel is doing, for its `repr`."""
    doing = "closed" if closed else machine.outlook.connectivity.name if started else "not started"
    backends = ", ".join(map(repr, list(machine.pool)))
    return f"{settings.target.text} {machine.pool.policy.name}: {doing} [{backends}]"
