"""`pick_first`: the first backend of the list that can be connected, for all RPCs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Generic, Literal, TypeVar

from client_resolver.core.fields import flag
from client_resolver.core.picker import BasePolicy, Candidate, Picker, untried

__all__ = ["FirstPicker", "PickFirst"]

C = TypeVar("C", bound=Candidate)


class FirstPicker(Generic[C]):
    """Picks the first backend, and the next in the list's order where that was tried."""

    concurrent: ClassVar[bool] = True

    __slots__ = ("_backends",)

    def __init__(self, backends: Sequence[C]) -> None:
        self._backends = tuple(backends)

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        return untried(self._backends, tried)[0]

    def __repr__(self) -> str:
        return f"<FirstPicker of {self._backends[0].address}>"


@dataclass(frozen=True)
class PickFirst(BasePolicy):
    """The policy `pick_first`.

    Attributes:
        shuffles: Each client uses its own order (gRFC A62): without it, all clients that
            have the same list go to the same backend.
    """

    shuffles: bool = False
    name: ClassVar[str] = "pick_first"
    connects: ClassVar[Literal["all", "one"]] = "one"

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "PickFirst":
        """Make the policy from its config: `shuffleAddressList`.

        Raises:
            ValueError: That is neither true nor false.
        """
        return cls(shuffles=flag(config, "shuffleAddressList", default=False))

    def build(
        self,
        backends: Sequence[C],
        rng: Random,  # noqa: ARG002
        now: Callable[[], float],  # noqa: ARG002
        before: Picker[C] | None,  # noqa: ARG002
    ) -> Picker[C]:
        """See `Policy.build`."""
        return FirstPicker(backends)
