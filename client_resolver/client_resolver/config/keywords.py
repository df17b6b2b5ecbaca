"""The keyword arguments of every channel of this package, sync and aio alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Literal, TypeAlias, TypedDict

import grpc

from client_resolver.config.dial import Dial
from client_resolver.core.picker import PolicyFactory
from client_resolver.resolver import Resolve
from client_resolver.resolver.bearer_token import Token
from client_resolver.telemetry.observer import Observer

__all__ = ["HashKey", "Keywords", "Options", "ServiceConfigLike"]

Options: TypeAlias = Iterable[tuple[str | bytes, object]]
"""Channel arguments as grpc takes them."""

ServiceConfigLike: TypeAlias = str | Mapping[str, object]
"""A gRPC service config as JSON, or as what JSON gives."""

HashKey: TypeAlias = Callable[[str, Mapping[str, str | bytes], object], str | bytes | int | None]
"""Returns the key of `ring_hash` and `maglev`: from the RPC's method, its metadata and its request
(the iterator of a stream). None: nothing, so the RPC goes anywhere."""


class Keywords(TypedDict, total=False):
    """The keyword arguments of a channel beyond grpc's own. Each has a default.

    Attributes:
        service_config: A gRPC service config. Takes precedence over the one in `options`. Default:
            the one that the balancer sends, if any.
        policy: The load-balancing policy alone: a name, or `{"name": {…}}`. Takes precedence over
            the one of any service config, including the balancer's.
        policies: Custom policies, by name: a callable that makes one from its config. See
            `client_resolver.Policy`.
        max_table_size: The maximum number of entries in a ring of `ring_hash` or a table of
            `maglev`, whatever the service config requests. Default: 4096.
        hash_key: The key of keyed policies. Default: the policy's `requestHashHeader`.
        connect: `"eager"` (default): every backend is connected from the first use on. `"lazy"`: a
            backend is connected when it is first picked.
        idle_timeout: With `connect="lazy"`: seconds without an RPC after which a backend's
            connection is closed. None (default): never.
        connections_per_backend: The number of connections to each backend, 1 to 100. Default: 1.
        keepalive: `(time, timeout)` in seconds: the interval of pings on backends' connections,
            also without RPCs, and the timeout of an answer. None (default): no pings, because a
            server that doesn't expect them closes the connection.
        dial: Chooses credentials, authority and channel arguments per backend.
        drain_timeout: Seconds that a backend which has left the list may take to finish its RPCs.
            The others then fail with UNAVAILABLE. None (default): no limit.
        subset_size: The number of backends that this client uses; its `client_id` selects them.
            None (default): all.
        client_id: The client's identity in requests to the balancer. Default: POD_NAME, or the
            host's name and process id.
        zone: The zone that this client runs in. Default: the environment variable LOOKASIDE_ZONE.
        node: The node that this client runs on. Default: the environment variable LOOKASIDE_NODE.
        balancer_credentials: The credentials of the balancer's connection. None (default):
            insecure.
        balancer_options: Channel arguments of the balancer's connection. Lists of up to 64 MiB are
            accepted unless `grpc.max_receive_message_length` is set.
        balancer_token: Sent to the balancer with every watch. Needs `balancer_credentials`.
        insecure_balancer_token: Send it without them as well, in plain text. Default: False.
        watch_backoff: The first and the largest bound, in seconds, of the random wait before a
            lost watch is tried again. Default: (0.1, 3.0).
        older_revision_hold: Seconds for which a list that is known to be older than the held one is
            ignored. Default: 30.
        fallback: A `dns:///` or `static:///` target, used until the balancer has sent a list. RPCs
            wait until it has been resolved.
        snapshot_path: A file that keeps the last list, for a start while no balancer can be
            reached. None (default): none.
        resolvers: Custom resolvers, by the scheme of the target. See `client_resolver.resolver`.
        refresh_interval: Seconds between two lookups of a `dns:///` target or a custom resolver.
            Default: 30.
        observers: Receive the channel's events. See `client_resolver.Observer`.
    """

    service_config: ServiceConfigLike | None
    policy: str | Mapping[str, Mapping[str, object]] | None
    policies: Mapping[str, PolicyFactory]
    max_table_size: int
    hash_key: HashKey | None
    connect: Literal["eager", "lazy"]
    idle_timeout: float | None
    connections_per_backend: int
    keepalive: tuple[float, float] | None
    dial: Dial | None
    drain_timeout: float | None
    subset_size: int | None
    client_id: str | None
    zone: str | None
    node: str | None
    balancer_credentials: grpc.ChannelCredentials | None
    balancer_options: Options | None
    balancer_token: Token | None
    insecure_balancer_token: bool
    watch_backoff: tuple[float, float]
    older_revision_hold: float
    fallback: str | None
    snapshot_path: str | PathLike[str] | None
    resolvers: Mapping[str, Resolve]
    refresh_interval: float
    observers: Sequence[Observer]
