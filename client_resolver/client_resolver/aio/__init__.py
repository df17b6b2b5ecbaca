"""Channels for asyncio: `grpc.aio.insecure_channel` and `grpc.aio.secure_channel`, with a pick."""

from collections.abc import Sequence

import grpc

from client_resolver.aio.channel import Channel
from client_resolver.settings import Options, ServiceConfigLike, Settings

__all__ = ["insecure_channel", "secure_channel"]


def insecure_channel(
    target: str,
    options: Options | None = None,
    compression: grpc.Compression | None = None,
    interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
    *,
    service_config: ServiceConfigLike | None = None,
    balancer_credentials: grpc.ChannelCredentials | None = None,
    balancer_options: Options | None = None,
    client_id: str | None = None,
    zone: str | None = None,
    node: str | None = None,
    subset_size: int | None = None,
    watch_backoff: tuple[float, float] = (0.1, 3.0),
    older_revision_hold: float = 30.0,
    drain_timeout: float | None = None,
) -> grpc.aio.Channel:
    """Make a channel whose backends are reached without TLS. See `secure_channel` for the rest."""
    settings = Settings.of(
        target,
        None,
        options,
        compression,
        service_config=service_config,
        balancer_credentials=balancer_credentials,
        balancer_options=balancer_options,
        client_id=client_id,
        zone=zone,
        node=node,
        subset_size=subset_size,
        watch_backoff=watch_backoff,
        older_revision_hold=older_revision_hold,
        drain_timeout=drain_timeout,
    )
    return Channel(settings, interceptors)


def secure_channel(
    target: str,
    credentials: grpc.ChannelCredentials,
    options: Options | None = None,
    compression: grpc.Compression | None = None,
    interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
    *,
    service_config: ServiceConfigLike | None = None,
    balancer_credentials: grpc.ChannelCredentials | None = None,
    balancer_options: Options | None = None,
    client_id: str | None = None,
    zone: str | None = None,
    node: str | None = None,
    subset_size: int | None = None,
    watch_backoff: tuple[float, float] = (0.1, 3.0),
    older_revision_hold: float = 30.0,
    drain_timeout: float | None = None,
) -> grpc.aio.Channel:
    """Make a channel that keeps one connection per backend and picks a backend per RPC.

    Nothing is started before the first use. All use of a channel is on one event loop.

    Args:
        target: `lookaside://BALANCER_HOST:PORT/SERVICE`, `lookaside:///SERVICE` with the balancer
            in the environment variable LOOKASIDE_ADDRESS, or `static:///HOST:PORT,HOST:PORT`.
        credentials: Of the backends' connections. A backend is dialled by its address; its
            certificate is checked against the service's name as the target has it, less its port,
            or against the channel argument `grpc.ssl_target_name_override`.
        options: Channel arguments of the backends' connections. `grpc.service_config` and
            `grpc.lb_policy_name` are read here.
        compression: The default compression of RPCs.
        interceptors: Run once per RPC, above the pick.
        service_config: A gRPC service config as JSON or as what JSON gives. Goes before the one in
            `options`. With neither, the one that the balancer sends holds, if it sends one.
        balancer_credentials: Of the balancer's connection. None: insecure.
        balancer_options: Channel arguments of the balancer's connection.
        client_id: Tells the balancer who asks. None: POD_NAME, or the host's name and process id.
        zone: The zone that this client runs in. None: the environment variable LOOKASIDE_ZONE.
        node: The node that this client runs on. None: the environment variable LOOKASIDE_NODE.
        subset_size: How many of the backends this client wants: by its id the same ones each time.
            None: all.
        watch_backoff: The first and the largest bound, in seconds, of the random wait before a
            watch that was lost is tried again.
        older_revision_hold: How long a list that is known to be older than the held one is put
            off, in seconds.
        drain_timeout: How long a backend that has left the list may finish its RPCs, in seconds.
            None: as long as they take.

    Raises:
        TargetError: The target cannot be understood.
        ServiceConfigError: The service config cannot be understood, or names no known policy.
        ValueError: A number is out of its range.
    """
    settings = Settings.of(
        target,
        credentials,
        options,
        compression,
        service_config=service_config,
        balancer_credentials=balancer_credentials,
        balancer_options=balancer_options,
        client_id=client_id,
        zone=zone,
        node=node,
        subset_size=subset_size,
        watch_backoff=watch_backoff,
        older_revision_hold=older_revision_hold,
        drain_timeout=drain_timeout,
    )
    return Channel(settings, interceptors)
