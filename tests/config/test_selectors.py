"""Label selectors, as the API server reads them."""

import time

import pytest

from lookaside.config.selectors import label_name, selector


@pytest.mark.parametrize(
    "text",
    [
        "app",
        "!app",
        "app=web",
        "app==web",
        "app!=web",
        "app=",
        "a=b,c=d, e = f",
        "app in (web)",
        "app in (web, api),tier notin (test,)",
        "app.kubernetes.io/name=web",
        "lookaside.dev/weighted",
        "App_1.x=V-2.3_4",
    ],
)
def test_good_selectors(text: str) -> None:
    assert selector(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "a,",
        "=a",
        "a=b=c",
        "a b",
        "a in b",
        "a in ()x",
        "in (a)b",
        "!a=b",
        "-a=b",
        "a=b/c",
        "A.b/c/d",
        "UPPER.example/name",
        f"a={'x' * 64}",
        "a\n=b;",
    ],
)
def test_bad_selectors(text: str) -> None:
    with pytest.raises(ValueError, match="a label selector such as app=web"):
        selector(text)


@pytest.mark.parametrize(
    "text", ["a" * 5000 + "!", "a," * 3000 + "!", "a in (" + "b," * 2000, "a" + " " * 5000 + "x"]
)
def test_no_selector_takes_long_to_read(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="a label selector"):
        selector(text)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("text", ["version", "app.kubernetes.io/version", "A_b.c-1"])
def test_good_names(text: str) -> None:
    assert label_name(text) == text


@pytest.mark.parametrize("text", ["", "a=b", "/a", "a/", "a/b/c", "a b", "x" * 64])
def test_bad_names(text: str) -> None:
    with pytest.raises(ValueError, match="the name of a label, such as version"):
        label_name(text)


@pytest.mark.parametrize("text", ["hostname", "node", "pod", "zone"])
def test_names_that_metadata_has_of_itself_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"another label than {text}"):
        label_name(text)
