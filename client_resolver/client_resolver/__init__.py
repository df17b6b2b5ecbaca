"""gRPC channels that find their backends with Lookaside and pick one per RPC, locally.

`insecure_channel` and `secure_channel` replace grpc's own; `client_resolver.aio` has the
same for asyncio.
"""

from typing import Unpack

import grpc

from client_resolver import aio
from client_resolver.config.dial import Dialing
from client_resolver.config.keywords import Keywords, Options
from client_resolver.config.settings import Settings
from client_resolver.config.validation import check_credentials
from client_resolver.core.model import Connectivity, Endpoint
from client_resolver.core.picker import BasePolicy, Candidate, Picker, Policy
from client_resolver.core.snapshot import BackendSnapshot, ChannelSnapshot
from client_resolver.errors import ResolverError, ServiceConfigError, TargetError
from client_resolver.resolver import Server
from client_resolver.sync.channel import Channel
from client_resolver.telemetry.observer import Attempt, Observer

__all__ = [
    "Attempt",
    "BackendSnapshot",
    "BasePolicy",
    "Candidate",
    "Channel",
    "ChannelSnapshot",
    "Connectivity",
    "Dialing",
    "Endpoint",
    "Keywords",
    "Observer",
    "Picker",
    "Policy",
    "ResolverError",
    "Server",
    "ServiceConfigError",
    "TargetError",
    "aio",
    "insecure_channel",
    "secure_channel",
]


def insecure_channel(
    target: str,
    options: Options | None = None,
    compression: grpc.Compression | None = None,
    **keywords: Unpack[Keywords],
) -> Channel:
    """Make a channel whose backends are reached without TLS. See `secure_channel` for the rest."""
    return Channel(Settings.of(target, None, options, compression, keywords))


def secure_channel(
    target: str,
    credentials: grpc.ChannelCredentials,
    options: Options | None = None,
    compression: grpc.Compression | None = None,
    **keywords: Unpack[Keywords],
) -> Channel:
    """Make a channel that keeps connections to the backends and picks one per RPC.

    Nothing is started before the first use. The channel may be used from many threads at once, and
    in forked children of the process; each child makes its own connections.

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
        keywords: See `client_resolver.Keywords`.

    Raises:
        TargetError: A target is invalid.
        ServiceConfigError: The service config is invalid, or names no known policy.
        TypeError: There is no such keyword argument, or the credentials have another type.
        ValueError: A value is invalid; the error says what is expected.
    """
    check_credentials("credentials", credentials)
    return Channel(Settings.of(target, credentials, options, compression, keywords))
