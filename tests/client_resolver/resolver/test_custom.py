from inspect import CORO_CLOSED, getcoroutinestate

import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint
from client_resolver.resolver.custom import Answer, Server, listed


def test_addresses_and_servers_and_endpoints_may_stand_in_one_answer() -> None:
    endpoint = Endpoint(parse_address("c:3"), weight=7)
    server = Server("[::1]:2", weight=5, zone="z", node="n", metadata={"b": "2", "a": "1"})
    answer: list[str | Server | Endpoint] = ["a:1", server, endpoint]
    found = listed(iter(answer))
    assert found.endpoints == (
        Endpoint(parse_address("a:1")),
        Endpoint(parse_address("[::1]:2"), 5, (("a", "1"), ("b", "2")), "z", "n"),
        endpoint,
    )
    assert found.set_aside == ()


def test_what_is_malformed_is_set_aside_and_the_rest_used() -> None:
    found = listed(["a:1", "nonsense", Server("b:2", weight=-1), "a:1", Server("d")])
    assert [endpoint.address.text for endpoint in found.endpoints] == ["a:1"]
    assert [(one.address, one.reason) for one in found.set_aside] == [
        ("nonsense", "'nonsense' is not HOST:PORT"),
        ("b:2", "'b:2' has the negative weight -1"),
        ("a:1", "'a:1' is listed twice"),
        ("d", "'d' is not HOST:PORT"),
    ]


def test_no_backends_are_an_answer() -> None:
    assert listed([]).endpoints == ()


async def _coroutine() -> list[str]:
    return []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("a:1", "'a:1' was returned"),
        (None, "None was returned"),
        ([("a", 1)], r"\('a', 1\) is neither"),
    ],
)
def test_what_is_no_answer_is_named(answer: Answer, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        listed(answer)


def test_a_coroutine_is_refused_and_closed() -> None:
    coroutine = _coroutine()
    with pytest.raises(TypeError, match=r"in client_resolver\.aio alone"):
        listed(coroutine)  # type: ignore[arg-type]
    assert getcoroutinestate(coroutine) == CORO_CLOSED
