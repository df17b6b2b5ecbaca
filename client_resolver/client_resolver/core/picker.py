"""The protocols of load-balancing policies: a policy builds pickers, and a picker picks.

A policy of your own takes a picker with `pick`, a subclass of `BasePolicy` with `name` and `build`,
and a function that makes it from its config: see `BasePolicy`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from random import Random
from typing import Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from client_resolver.core.load import LoadReport

__all__ = [
    "BasePolicy",
    "Candidate",
    "CountingFailures",
    "Picker",
    "Policy",
    "PolicyFactory",
    "Reporting",
    "untried",
]


class Candidate(Protocol):
    """A policy's view of a backend. Two are equal only if they are the same object."""

    @property
    def address(self) -> str:
        """`HOST:PORT`."""

    @property
    def weight(self) -> int:
        """The share of requests that it should get, relative to the others. At least 1.

        Slow start is in it already.
        """

    @property
    def in_flight(self) -> Sized:
        """Its length is the number of RPCs that the backend carries now."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What else the balancer says of it, as names and values."""

    @property
    def load(self) -> LoadReport | None:
        """Its latest load report. None: there was none, or the policy asks for none."""


B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
C = TypeVar("C", bound=Candidate)


class Picker(Protocol[B_co]):
    """Picks a backend for one RPC after another.

    The set of backends that it picks from never changes: a change makes a new picker. A picker need
    not be thread-safe: where several threads share one, its owner serialises all calls. Not so
    where its attribute `concurrent` is true: then any thread may call it at any time, also one that
    is interrupted in a call by a signal handler or a finaliser that picks.
    """

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> B_co:
        """Return the backend for the next RPC, or for the next attempt at one.

        Never waits, never fails.

        Args:
            key: The 64-bit hash of the RPC. Only policies that are `keyed` look at it.
            tried: The backends that the RPC was tried on; for policies that are `keyed`, those that
                can't be picked at present as well. Another is returned where there is one.
        """


@runtime_checkable
class Reporting(Protocol):
    """A picker that learns from how RPCs end. Those of a `measured` policy are such.

    The thread that sees the end calls it. What `Picker` says of threads holds for `ended` and
    `failed` as for `pick`.
    """

    def ended(self, backend: Candidate, seconds: float, ok: bool) -> None:
        """An attempt ended.

        Args:
            backend: Where. It may be one that this picker doesn't pick from any more.
            seconds: How long the attempt took.
            ok: It didn't fail in a way that the backend is to blame for.
        """


@runtime_checkable
class CountingFailures(Protocol):
    """A picker that wants to know which attempts fail. Those of a policy that `counts_failures`."""

    def failed(self, backend: Candidate, seconds: float, *, overload: bool) -> None:
        """An attempt ended with another status than OK.

        What was cancelled here or never left the client doesn't count. A picker that is `Reporting`
        as well receives such an attempt here and not by `ended`.

        Args:
            backend: Where. It may be one that this picker doesn't pick from any more.
            seconds: How long the attempt took. 0: it wasn't measured.
            overload: The status shows that the backend is overloaded or broken: its code is
                RESOURCE_EXHAUSTED or one that outlier detection counts as an error, or the server
                said when to try again (gRFC A6, pushback).
        """


@runtime_checkable
class Policy(Protocol):
    """Builds the pickers of one load-balancing policy."""

    @property
    def name(self) -> str:
        """The policy's name in a service config."""

    @property
    def keyed(self) -> bool:
        """Whether picks want a key.

        Then pickers are built over all backends that may be ready: see `build`. So a backend that
        fails takes no other key with it than its own, and has those again when it is back.
        """

    @property
    def measured(self) -> bool:
        """Whether the pickers are `Reporting` and want the reports."""

    @property
    def counts_failures(self) -> bool:
        """Whether the pickers are `CountingFailures` and want the failures.

        Unlike `measured`, it costs RPCs that succeed nothing.
        """

    @property
    def load_reports(self) -> bool:
        """Whether the backends' load reports are wanted."""

    @property
    def load_period(self) -> float | None:
        """How often backends are to report their load out of band, in seconds (gRFC A51).

        None: they aren't asked.
        """

    @property
    def refresh(self) -> float | None:
        """How often the picker is rebuilt even if nothing has changed, in seconds.

        None: never.
        """

    @property
    def connects(self) -> Literal["all", "one"]:
        """What is connected: all backends, or the first in the list's order that can be."""

    @property
    def shuffles(self) -> bool:
        """With `connects` "one": each client uses its own order, not the list's."""

    @property
    def request_hash_header(self) -> str:
        """The metadata key whose value is hashed to an RPC's key (gRFC A76). Empty: none."""

    def build(
        self,
        backends: Sequence[C],
        rng: Random,
        now: Callable[[], float],
        before: Picker[C] | None,
    ) -> Picker[C]:
        """Make a picker.

        Args:
            backends: The backends that are ready, in the list's order: at least one. If the policy
                is `keyed`, those that are not ready at present are among them; picks get
                them as tried.
            rng: The source of all that is random.
            now: The clock, in seconds.
            before: The picker that this one replaces, of whatever policy. What is learnt over a
                long time may be taken over from it, and it may itself be returned. None: it is the
                first.

        Returns:
            A picker over exactly these backends.
        """


PolicyFactory: TypeAlias = Callable[[Mapping[str, object]], Policy]
"""Makes a policy from its config, the JSON object that stands under the policy's name.

It raises ValueError for what it can't use, with a text that begins with the field's name.
"""


class BasePolicy:
    """The defaults of a policy. A subclass adds `name` and `build`.

    For example, one that always takes the backend with the fewest RPCs:

    ```python
    import client_resolver


    class Idlest:
        def __init__(self, backends):
            self.backends = backends

        def pick(self, key=0, tried=()):
            fresh = [backend for backend in self.backends if backend not in tried]
            return min(fresh or self.backends, key=lambda backend: len(backend.in_flight))


    class IdlestPolicy(client_resolver.BasePolicy):
        name = "idlest"

        def build(self, backends, rng, now, before):
            return Idlest(backends)


    channel = client_resolver.insecure_channel(
        "static:///127.0.0.1:50061,127.0.0.1:50062",
        policy="idlest",
        policies={"idlest": lambda config: IdlestPolicy()},
    )
    ```

    What is a property here may be an attribute there: `keyed = True`.
    """

    @property
    def keyed(self) -> bool:
        """See `Policy.keyed`."""
        return False

    @property
    def measured(self) -> bool:
        """See `Policy.measured`."""
        return False

    @property
    def counts_failures(self) -> bool:
        """See `Policy.counts_failures`."""
        return False

    @property
    def load_reports(self) -> bool:
        """See `Policy.load_reports`."""
        return False

    @property
    def load_period(self) -> float | None:
        """See `Policy.load_period`."""
        return None

    @property
    def refresh(self) -> float | None:
        """See `Policy.refresh`."""
        return None

    @property
    def connects(self) -> Literal["all", "one"]:
        """See `Policy.connects`."""
        return "all"

    @property
    def shuffles(self) -> bool:
        """See `Policy.shuffles`."""
        return False

    @property
    def request_hash_header(self) -> str:
        """See `Policy.request_hash_header`."""
        return ""


def untried(backends: Sequence[B], tried: Collection[object]) -> Sequence[B]:
    """Return the backends that are not in `tried`; all of them if there is no other."""
    if not tried:
        return backends
    return [backend for backend in backends if backend not in tried] or backends
