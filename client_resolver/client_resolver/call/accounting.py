"""One RPC over all of its attempts, where it is more than a plain call on a picked connection.

Neither shell waits or sends anything here: they report what happens, and get what follows.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from client_resolver.call.attempt import Attempt
from client_resolver.call.load_report import (
    LOAD_REPORT,
    LOAD_REPORT_TEXT,
    load_report,
    load_report_text,
)
from client_resolver.call.metadata import Metadata, kept
from client_resolver.call.repeats import Repeats
from client_resolver.call.shared import Rpcs
from client_resolver.config.service_config import MethodConfig
from client_resolver.core.backend import Backend
from client_resolver.core.load import LoadReport
from client_resolver.core.model import Failure
from client_resolver.core.replay import is_local
from client_resolver.core.retry import PREVIOUS_ATTEMPTS, pushback_in
from client_resolver.core.slots import Slot
from client_resolver.telemetry.dispatch import tell_each
from client_resolver.telemetry.observer import Attempt as Told

__all__ = ["Rpc", "Trial"]

H = TypeVar("H")


Trial: TypeAlias = Attempt[H, Any]
"""An attempt, whatever the type of its call."""


class Rpc(Generic[H]):
    """Keeps what goes from attempt to attempt, and tells the machine, the breaker and observers.

    After `enter` has returned None, `finish` is to be called once the RPC has ended; more calls of
    it do nothing.

    Args:
        rpcs: The channel's.
        path: `/package.Service/Method`.
        config: What the service config says of the method.
        metadata: The RPC's metadata.
        request: The request, or the iterator of the requests.

    Attributes:
        key: The key of keyed policies. 0: the policy isn't keyed.
        tried: The backends of the attempts so far: the next is to go to another.
        asked: The idle backend that this RPC has had connected. None: it has asked for none.
    """

    __slots__ = (
        "_counted",
        "_finished",
        "_metadata",
        "_path",
        "_repeats",
        "_rpcs",
        "_waiting",
        "asked",
        "attempts",
        "began",
        "config",
        "key",
        "tried",
    )

    def __init__(
        self,
        rpcs: Rpcs[H],
        path: str,
        config: MethodConfig,
        metadata: Metadata | None,
        request: object,
    ) -> None:
        self._rpcs = rpcs
        self._path = path
        self.config = config
        self._metadata = metadata if metadata is None else kept(metadata)
        self.began = rpcs.now()
        self.tried: list[Backend[H]] = []
        self.asked: Backend[H] | None = None
        self.attempts = 0
        self._repeats: Repeats | None = None
        self.key = rpcs.key(path, self._metadata, request) if rpcs.keyed else 0
        # Of the breaker. Whatever ends the RPC, its counts end with it.
        self._counted: Slot | None = None
        self._waiting: Slot | None = None
        self._finished = False

    def enter(self) -> Failure | None:
        """Count the RPC in. Return why it is refused: then it has ended."""
        rpcs = self._rpcs
        failure = None
        if rpcs.breaks:
            entered = rpcs.breaker.enter()
            if isinstance(entered, Failure):
                failure = entered
            else:
                self._counted = entered
        if rpcs.rpc_starts:
            tell_each(rpcs.rpc_starts, rpcs.target, self._path)
        if failure is not None:
            self._finished = True
            self._tell_end(failure.code.name)
        return failure

    def waits(self) -> Failure | None:
        """There is no backend at this moment. Return why the RPC can't wait."""
        if self._waiting is not None:
            return None
        begun = self._rpcs.breaker.begin_pending()
        if isinstance(begun, Failure):
            return begun
        self._waiting = begun
        return None

    def resume(self, backend: Backend[H], began: float) -> Trial[H]:
        """An attempt was made without this object, and failed.

        `enter` is to have returned None. `end` is to follow.

        Args:
            backend: Where it was put.
            began: When, on the machine's clock: the RPC began then as well.
        """
        trial = self.begin(backend)
        self.began = trial.began = began
        return trial

    def begin(self, backend: Backend[H], *, hedge: bool = False) -> Trial[H]:
        """An attempt started on a backend. `end` follows."""
        rpcs = self._rpcs
        number, self.attempts = self.attempts, self.attempts + 1
        self.tried.append(backend)
        if self._waiting is not None:
            self._waits_no_more()
        told = None
        if rpcs.attempts_told:
            told = Told(rpcs.target, self._path, backend.address, number, hedge)
            if rpcs.attempt_starts:
                tell_each(rpcs.attempt_starts, told)
        return Attempt(backend, number, rpcs.now(), told)

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
        """The metadata of the attempt that is begun next or was just begun."""
        previous = 0 if self._repeats is None else self._repeats.previous
        if previous <= 0:
            return self._metadata
        return (*(self._metadata or ()), (PREVIOUS_ATTEMPTS, str(previous)))

    @property
    def repeats(self) -> Repeats:
        """The attempts that follow the first: most RPCs have none, and need no record of them."""
        repeats = self._repeats
        if repeats is None:
            rpcs = self._rpcs
            repeats = self._repeats = Repeats(
                self.config, rpcs.breaker, rpcs.throttle, rpcs.rng, self.now
            )
        return repeats

    @property
    def now(self) -> Callable[[], float]:
        """The clock."""
        return self._rpcs.now

    @property
    def wants_trailing(self) -> bool:
        """Whether `end` has a use for the trailing metadata of an attempt that succeeded."""
        return self._rpcs.machine.wants_load

    def end(
        self,
        trial: Trial[H],
        code: str,
        trailing: Metadata | None = None,
        *,
        details: str = "",
        ours: bool = False,
    ) -> bool:
        """An attempt ended. Return whether that is new.

        Args:
            trial: The attempt.
            code: The name of its status code.
            trailing: Its trailing metadata, for the backend's load report and pushback.
            details: Its text.
            ours: It was cancelled here: that says nothing of the backend.
        """
        rpcs = self._rpcs
        if trial.seconds is not None:
            return False
        pool, backend = rpcs.pool, trial.backend
        now = rpcs.now()
        trial.seconds = seconds = now - trial.began
        if ours:
            wanted = False
        elif code == "OK":
            wanted = pool.tracked
            if wanted and pool.succeeded(backend, seconds):
                rpcs.wake(now)
        else:
            wanted = pool.tracks_failures and not is_local(code, details)
            if wanted:
                pushback = pushback_in(trailing or ()) is not None
                rpcs.attempt_failed(backend, code, seconds, now, pushback=pushback)
        if wanted and trailing and rpcs.machine.wants_load:
            load = _load(trailing, now)
            if load is not None:
                rpcs.machine.loaded(backend, load)
        if trial.told is not None:
            tell_each(rpcs.attempt_ends, trial.told, code, seconds)
        return True

    def succeeded(self) -> None:
        """The RPC has its response, or the first of its responses."""
        if self._repeats is not None:
            self._repeats.succeeded()
        elif self._rpcs.throttles and self.config.retry is not None:
            self._rpcs.throttle.succeeded()

    def finish(self, code: str) -> None:
        """The RPC ended for the application."""
        if self._finished:
            return
        self._finished = True
        if self._repeats is not None:
            self._repeats.finish()
        if self._waiting is not None:
            self._waits_no_more()
        if self._counted is not None:
            self._counted.give_back()
        self._tell_end(code)

    def explained(self, reason: str) -> str:
        """Make the text of an end that is decided here: it names the channel's target as well."""
        before = "" if self._repeats is None else self._repeats.before
        return self._rpcs.settings.explain(f"{reason}{before}")

    def _waits_no_more(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.give_back()

    def _tell_end(self, code: str) -> None:
        rpcs = self._rpcs
        if rpcs.rpc_ends:
            seconds = rpcs.now() - self.began
            target, path = rpcs.target, self._path
            tell_each(rpcs.rpc_ends, target, path, code, seconds, self.attempts)


def _load(trailing: Metadata, now: float) -> LoadReport | None:
    for name, value in trailing:
        if name == LOAD_REPORT and isinstance(value, bytes):
            return load_report(value, now)
        if name == LOAD_REPORT_TEXT and isinstance(value, str):
            return load_report_text(value, now)
    return None
