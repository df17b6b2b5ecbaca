from client_resolver.core.guard import Guard
from client_resolver.core.picker import CountingFailures, Reporting
from client_resolver.core.serial_picker import SerialPicker, serial
from tests.client_resolver.core.pickers.fakes import FakeBackend, backends


class Interrupted:
    """A picker that is interrupted, in each pick, by somebody who picks."""

    def __init__(self) -> None:
        self.picker: SerialPicker[FakeBackend] | None = None
        self.meanwhile: list[FakeBackend] = []
        self.some = backends(1, 1)

    def pick(self, key: int = 0, tried: object = ()) -> FakeBackend:
        assert self.picker is not None
        self.meanwhile += [self.picker.pick(tried=(self.some[0],)) for _ in range(2)]
        return self.some[0]


def test_who_interrupts_a_pick_gets_one_of_the_untried_backends() -> None:
    inner = Interrupted()
    inner.picker = SerialPicker(inner, inner.some, Guard())
    assert inner.picker.pick() is inner.some[0]
    assert inner.meanwhile == [inner.some[1]] * 2


class Learning:
    """A picker that wants to know how attempts end."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def pick(self, key: int = 0, tried: object = ()) -> FakeBackend:
        raise NotImplementedError

    def ended(self, backend: object, seconds: float, ok: bool) -> None:
        self.told.append((backend, seconds, ok))

    def failed(self, backend: object, seconds: float, *, overload: bool) -> None:
        self.told.append((backend, seconds, overload))


def test_it_is_told_what_its_picker_wants_to_be_told() -> None:
    inner = Learning()
    (one,) = backends(1)
    picker = serial(inner, [one], Guard())
    assert isinstance(picker, Reporting)
    assert isinstance(picker, CountingFailures)
    picker.ended(one, 1.0, True)
    picker.failed(one, 2.0, overload=True)
    assert inner.told == [(one, 1.0, True), (one, 2.0, True)]
    plain = serial(Interrupted(), [one], Guard())
    assert not isinstance(plain, Reporting)
    assert not isinstance(plain, CountingFailures)
