import sys
from types import FrameType
from typing import Any

from client_resolver.core.slots import Live, Slot


def test_a_slot_counts_until_it_is_given_back_or_dies() -> None:
    live: Live = set()
    slots = [Slot(live) for _ in range(3)]
    assert len(live) == 3
    slots[0].give_back()
    slots[0].give_back()
    assert len(live) == 2
    slots.clear()
    assert live == set()


class Struck(Exception):
    """What a signal handler raises."""


def test_no_line_is_such_that_an_exception_there_loses_a_count() -> None:
    """An exception is raised at each line of what takes a place, and of what gives it back."""
    live: Live = set()
    lines = 0

    def rpc() -> None:
        slot = Slot(live)
        slot.give_back()

    def strike_at(number: int) -> bool:
        passed = 0

        def trace(frame: FrameType, event: str, _arg: object) -> Any:
            nonlocal passed
            if event != "line" or not frame.f_code.co_filename.endswith("slots.py"):
                return trace
            passed += 1
            if passed == number:
                raise Struck
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            rpc()
        except Struck:
            return True
        finally:
            sys.settrace(before)
        return False

    while strike_at(lines + 1):
        lines += 1
        assert live == set()
    assert lines > 4
