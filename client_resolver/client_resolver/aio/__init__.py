"""Channels for asyncio: `grpc.aio.insecure_channel` and `grpc.aio.secure_channel`, with a pick."""

from collections.abc import Sequence
from typing import Unpack

import grpc

from client_resolver.aio.channel import Channel
from client_resolver.config.keywords import Keywords, Options
from client_resolver.config.settings import Settings
from client_resolver.config.validation import check_credentials

__all__ = ["Channel", "insecure_channel", "secure_channel"]


def insecure_channel(
    target: str,
    options: Options | None = None,
    compression: grpc.Compression | None = None,
    interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
    **keywords: Unpack[Keywords],
) -> Channel:
    """Make a channel whose backends are reached without TLS. See `secure_channel` for the rest."""
    return Channel(Settings.of(target, None, options, compression, keywords), interceptors)


def secure_channel(
    target: str,
    credentials: grpc.ChannelCredentials,
    options: Options | None = None,
    compression: grpc.Compression | None = None,
    interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
    **keywords: Unpack[Keywords],
) -> Channel:
    """Make a channel that keeps connections to the backends and picks one per RPC.

    Nothing is started before the first use. The channel belongs to the event loop that it is first
    used on.

    Args:
        target: `lookaside://BALANCER_HOST:PORT/SERVICE`, `lookaside:///SERVICE` with the balancer
            in the environment variable LOOKASIDE_ADDRESS, `dns:///HOST:PORT`,
            `static:///HOST:PORT,HOST:PORT` or `static:///unix:PATH`, or what one of `resolvers`
            knows.
        credentials: The credentials of the backends' connections. A backend is dialled by its
            address; its certificate is checked against the service's name in the target, without
            the port, or against the channel argument `grpc.ssl_target_name_override`.
        options: Channel arguments of the backends' connections. `grpc.service_config` and
            `grpc.lb_policy_name` are read here.
        compression: The default compression of RPCs.
        interceptors: Run once per RPC, above the pick.
        keywords: See `client_resolver.Keywords`.

    Raises:
        TargetError: A target is invalid.
        ServiceConfigError: The service config is invalid, or names no known policy.
        TypeError: There is no such keyword argument, or the credentials have another type.
        ValueError: A value is invalid; the error says what is expected.
    """
    check_credentials("credentials", credentials)
    return Channel(Settings.of(target, credentials, options, compression, keywords), interceptors)
