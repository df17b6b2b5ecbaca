from random import Random

import pytest

from client_resolver.core.pickers.pick_first import FirstPicker, PickFirst
from tests.client_resolver.core.pickers.fakes import Clock, backends


@pytest.mark.parametrize(
    ("tried", "picked"), [((), 0), ((0,), 1), ((1,), 0), ((0, 1), 2), ((0, 1, 2), 0)]
)
def test_the_first_that_was_not_tried_is_picked(tried: tuple[int, ...], picked: int) -> None:
    some = backends(1, 5, 9)
    picker = PickFirst().build(some, Random(1), Clock(), None)
    assert picker.pick(tried=[some[index] for index in tried]) is some[picked]


def test_one_backend_is_connected_at_a_time() -> None:
    assert PickFirst.from_config({"shuffleAddressList": False}).connects == "one"


@pytest.mark.parametrize("asked", [False, True])
def test_each_client_goes_by_an_order_of_its_own_if_the_list_is_to_be_shuffled(asked: bool) -> None:
    assert PickFirst.from_config({"shuffleAddressList": asked}).shuffles is asked
    assert not PickFirst.from_config({}).shuffles


def test_shuffling_is_on_or_off() -> None:
    with pytest.raises(ValueError, match="shuffleAddressList is 'yes'"):
        PickFirst.from_config({"shuffleAddressList": "yes"})


def test_repr_names_the_backend() -> None:
    assert repr(FirstPicker(backends(1, 1))) == "<FirstPicker of 10.0.0.0:50051>"
