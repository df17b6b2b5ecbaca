from collections.abc import Callable
from pathlib import Path

import pytest

from client_resolver.resolver.bearer_token import TokenError, authorization


def _raises() -> str:
    raise OSError("no such vault")


def test_without_a_token_there_is_no_metadata() -> None:
    assert authorization(None) == ()


@pytest.mark.parametrize("token", ["secret", lambda: "secret\n"])
def test_a_token_is_sent_as_a_bearer(token: str | Callable[[], str]) -> None:
    assert authorization(token) == (("authorization", "Bearer secret"),)


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    assert authorization(path) == (("authorization", "Bearer first"),)
    path.write_text("second\n")
    assert authorization(path) == (("authorization", "Bearer second"),)


def test_a_callable_is_asked_each_time() -> None:
    tokens = iter(["first", "second"])
    assert authorization(lambda: next(tokens)) == (("authorization", "Bearer first"),)
    assert authorization(lambda: next(tokens)) == (("authorization", "Bearer second"),)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "balancer_token is empty"),
        ("top\nsecret", "balancer_token is empty, or has what no HTTP header may have"),
        ("top-sécret", "what no HTTP header may have"),
        (lambda: " ", "what the callable returned is empty"),
        (lambda: None, "TypeError: the callable has returned NoneType"),
        (_raises, "OSError: no such vault"),
        (Path("/nowhere/token"), "/nowhere/token"),
    ],
)
def test_a_token_that_is_none_is_an_error_that_does_not_tell_it(
    token: str | Callable[[], str], why: str
) -> None:
    with pytest.raises(TokenError) as caught:
        authorization(token)
    assert why in str(caught.value)
    assert "top" not in str(caught.value)
