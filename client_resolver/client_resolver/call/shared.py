"""Per-channel state shared by its RPCs: throttle, breaker, observers."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, Protocol, TypeVar

from client_resolver.call.hash_key import key_of
from client_resolver.call.metadata import Metadata, kept
from client_resolver.config.service_config import MethodConfig, ServiceConfig
from client_resolver.config.settings import Settings
from client_resolver.core.backend import Backend
from client_resolver.core.breaker import Breaker
from client_resolver.core.machine import Machine
from client_resolver.core.replay import is_local
from client_resolver.core.retry import Throttle, pushback_in
from client_resolver.telemetry.dispatch import overriding, tell_each
from client_resolver.telemetry.observer import Attempt, Observer

__all__ = ["Rpcs"]

H = TypeVar("H")

_RETRY_BUFFER = 256 * 1024
"""The default of the channel argument `grpc.per_rpc_retry_buffer_size`, in bytes."""


class AttemptFailed(Protocol[H]):
    """An attempt failed: see `Machine.failed`, which the shell calls when it may."""

    def __call__(
        self,
        backend: Backend[H],
        code: str,
        seconds: float,
        now: float,
        *,
        pushback: bool = False,
    ) -> None: ...


class Rpcs(Generic[H]):
    """Per-channel state shared by its RPCs: throttle, breaker, observers.

    Args:
        settings: The channel's settings.
        machine: Says what it wants to know.
        now: The machine's clock, in seconds.
        rng: Draws keys and jitter.
        attempt_failed: Tells the machine that an attempt failed, and publishes what follows.
        wake: Calls `Pool.wake` when it may.

    Attributes:
        breaks: The breaker has a limit: RPCs are to be counted.
        keyed: The policy picks by an RPC's key.
        throttles: The throttle has tokens: successes must be reported.
        ends_told: An observer wants to know how RPCs or their attempts end.
        retry_buffer: How many bytes of an RPC's streamed requests are kept for another attempt.
    """

    def __init__(
        self,
        settings: Settings,
        machine: Machine[H],
        *,
        now: Callable[[], float],
        rng: Random,
        attempt_failed: AttemptFailed[H],
        wake: Callable[[float], None],
    ) -> None:
        self.settings = settings
        self.machine = machine
        self.pool = machine.pool
        self.now = now
        self.rng = rng
        self.attempt_failed = attempt_failed
        self.wake = wake
        self.target = settings.target.text
        observers = settings.observers
        self.observers = observers
        # Most observers override a few methods: the rest is not to cost anything.
        self.rpc_starts = overriding(observers, Observer.rpc_started)
        self.rpc_ends = overriding(observers, Observer.rpc_ended)
        self.attempt_starts = overriding(observers, Observer.attempt_started)
        self.attempt_ends = overriding(observers, Observer.attempt_ended)
        self.attempts_told = bool(self.attempt_starts or self.attempt_ends)
        self.breaker = Breaker(settings.config.limits)
        self.throttle = Throttle(settings.config.throttling)
        self.breaks = self.breaker.limits.bounds_rpcs
        self.keyed = settings.config.policy.keyed
        self.throttles = settings.config.throttling is not None
        self.ends_told = bool(self.attempt_ends or self.rpc_ends)
        self.retry_buffer = _retry_buffer(settings.options)

    def configure(self, config: ServiceConfig) -> None:
        """See `ConfigListener` in `config.effective_config`. Its owner serialises the calls."""
        self.breaker.limits = config.limits
        self.breaks = config.limits.bounds_rpcs
        self.keyed = config.policy.keyed
        self.throttle.configure(config.throttling)
        self.throttles = config.throttling is not None

    def key(self, path: str, metadata: Metadata | None, request: object) -> int:
        """Return the key of an RPC, where the policy is `keyed`.

        Args:
            path: The method: `/package.Service/Method`.
            metadata: The RPC's metadata. None: it has none.
            request: The request, or the iterator of the requests.

        Raises:
            TypeError, ValueError: See `client_resolver.call.metadata.kept`.
        """
        return key_of(
            path,
            () if metadata is None else kept(metadata),
            request,
            hash_key=self.settings.hash_key,
            header=self.machine.config.policy.request_hash_header,
            rng=self.rng,
        )

    def succeeded(self, path: str, config: MethodConfig, backend: Backend[H], began: float) -> None:
        """The first attempt at an RPC of a light method succeeded.

        Args:
            path: The method: `/package.Service/Method`.
            config: What the service config says of it.
            backend: Where the attempt was put.
            began: When, on the machine's clock.
        """
        pool = self.pool
        tracked = pool.tracked
        throttles = self.throttles and config.retry is not None
        if not (tracked or throttles or self.ends_told):
            return
        now = self.now()
        seconds = now - began
        if tracked and pool.succeeded(backend, seconds):
            self.wake(now)
        if throttles:
            self.throttle.succeeded()
        if self.ends_told:
            self.tell_end(path, backend, "OK", seconds)

    def failed(self, backend: Backend[H], code: str, details: str, trailing: Metadata) -> None:
        """The only attempt at an RPC of a plain method failed.

        Args:
            backend: Where it was put.
            code: The name of its status code.
            details: Its text.
            trailing: Its trailing metadata.
        """
        machine = self.machine
        if not machine.tracks_failures or is_local(code, details):
            return
        pushback = pushback_in(trailing) is not None
        self.attempt_failed(backend, code, 0.0, self.now(), pushback=pushback)

    def tell_end(self, path: str, backend: Backend[H], code: str, seconds: float) -> None:
        """Tell observers of an RPC that has ended with its first attempt."""
        if self.attempt_ends:
            attempt = Attempt(self.target, path, backend.address, 0, False)
            tell_each(self.attempt_ends, attempt, code, seconds)
        if self.rpc_ends:
            tell_each(self.rpc_ends, self.target, path, code, seconds, 1)


def _retry_buffer(options: Sequence[tuple[str, object]]) -> int:
    given = dict(options).get("grpc.per_rpc_retry_buffer_size")
    return given if isinstance(given, int) else _RETRY_BUFFER
