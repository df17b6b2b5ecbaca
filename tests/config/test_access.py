"""Who may ask for what, as it is written."""

from pathlib import Path

import pytest

from lookaside.config import Allowance, Settings, load
from lookaside.config.access import allowance
from lookaside.errors import ConfigError

TLS = {"tls_cert": "c", "tls_key": "k", "tls_client_ca": "a"}
TOKENS = {"token_audience": "lookaside"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spiffe://a.b/x=y", Allowance("spiffe", "spiffe://a.b/x", ("y",))),
        ("spiffe://a.b/..x/.y./...=y", Allowance("spiffe", "spiffe://a.b/..x/.y./...", ("y",))),
        ("spiffe://a.b/ns/*=y", Allowance("spiffe", "spiffe://a.b/ns/*", ("y",))),
        ("spiffe://a.b/ns/a-*=y", Allowance("spiffe", "spiffe://a.b/ns/a-*", ("y",))),
        ("spiffe://a.b/*=*", Allowance("spiffe", "spiffe://a.b/*", ("*",))),
        ("dns:Cart.Shop=y,z", Allowance("dns", "cart.shop", ("y", "z"))),
        ("dns:*.shop=y", Allowance("dns", "*.shop", ("y",))),
        ("serviceaccount:shop/cart=y", Allowance("serviceaccount", "shop/cart", ("y",))),
        ("serviceaccount:shop/*=.", Allowance("serviceaccount", "shop/*", (".",))),
        ("serviceaccount:*/my.cart=.,y", Allowance("serviceaccount", "*/my.cart", (".", "y"))),
        ("*=.", Allowance("any", "", (".",))),
        (" * = y , y ,z", Allowance("any", "", ("y", "z"))),
    ],
)
def test_a_right_is_an_identity_and_its_namespaces(text: str, expected: Allowance) -> None:
    assert allowance(text) == expected
    assert allowance(str(expected)) == expected


IDENTITY = (
    "an identity before the =: spiffe://TRUST_DOMAIN/PATH, dns:NAME, serviceaccount:NAMESPACE/NAME "
    "or *"
)
SPIFFE = "spiffe://TRUST_DOMAIN/PATH, * at its end alone"
DNS = "dns:NAME or dns:*.NAME"
ACCOUNT = "serviceaccount:NAMESPACE/NAME, * for any"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("shop", "IDENTITY=NAMESPACE, such as serviceaccount:shop/cart=shop"),
        ("=shop", IDENTITY),
        ("cart=shop", IDENTITY),
        ("uri:x=shop", IDENTITY),
        ("spiffe://a=shop", SPIFFE),
        ("spiffe://a*=shop", SPIFFE),
        ("spiffe://a/..=shop", SPIFFE),
        ("spiffe://a/x/../y=shop", SPIFFE),
        ("spiffe://a/./y=shop", SPIFFE),
        ("spiffe://a/x/..*=shop", SPIFFE),
        ("spiffe://a/x?y=shop", SPIFFE),
        ("spiffe://a/=shop", SPIFFE),
        ("spiffe://a/x/=shop", SPIFFE),
        ("spiffe://*/x=shop", SPIFFE),
        ("spiffe://a/*/x=shop", SPIFFE),
        ("spiffe://A/x=shop", SPIFFE),
        ("spiffe:a=shop", SPIFFE),
        ("dns:=shop", DNS),
        ("dns:*=shop", DNS),
        ("dns:a.*.b=shop", DNS),
        ("dns:a*.b=shop", DNS),
        ("serviceaccount:cart=shop", ACCOUNT),
        ("serviceaccount:shop/=shop", ACCOUNT),
        ("serviceaccount:shop/c*=shop", ACCOUNT),
        ("serviceaccount:shop:cart=shop", ACCOUNT),
        ("*=", "namespaces after the =, * for all or . for the caller's own, not ''"),
        ("*=Shop", "namespaces after the =, * for all or . for the caller's own, not 'Shop'"),
        ("*=a,,b", "namespaces after the =, * for all or . for the caller's own, not ''"),
        (
            "dns:a=.",
            "namespaces after the =: . is a ServiceAccount's own, a certificate's none",
        ),
    ],
)
def test_what_is_no_right_says_what_is_expected(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({"allow": [text]}, {})

    assert str(refused.value) == f"--allow {text!r}: expected {sentence}"


SEVERAL = (
    Allowance("serviceaccount", "shop/cart", ("shop", "pay")),
    Allowance("any", "", (".",)),
)


@pytest.mark.parametrize(
    ("flags", "variable", "text"),
    [
        (["serviceaccount:shop/cart=shop,pay", "*=."], "", ""),
        ([], "serviceaccount:shop/cart=shop,pay *=.", ""),
        ([], "", "allow: ['serviceaccount:shop/cart=shop,pay', '*=.']\n"),
        ([], "", "allow:\n  serviceaccount:shop/cart: [shop, pay]\n  '*': .\n"),
        ([], "", "allow:\n  serviceaccount:shop/cart: shop,pay\n  '*': ['.']\n"),
    ],
)
def test_rights_are_several_in_each_form(
    tmp_path: Path, flags: list[str], variable: str, text: str
) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text(text)

    settings = load({"allow": flags, **TOKENS}, {"LOOKASIDE_ALLOW": variable}, file)

    assert settings.allow == SEVERAL


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("allow:\n  cart: shop\n", f"2:9: allow 'cart=shop': expected {IDENTITY}"),
        ("allow:\n  '*': {a: b}\n", "2:8: allow: *: expected a list of names"),
        ("allow:\n  '*': [[a]]\n", "2:8: allow: *: expected a list of names"),
        (
            "allow:\n  '*':\n",
            (
                "2:7: allow '*=': expected namespaces after the =, * for all or . for the caller's "
                "own, not ''"
            ),
        ),
    ],
)
def test_a_bad_right_in_a_file_is_named_with_line_and_column(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError) as refused:
        load({}, {}, file)

    assert str(refused.value) == f"{file}:{sentence}"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            {"allow": ["*=a"]},
            (
                "allow is given with neither tls_client_ca nor token_audience; callers could not "
                "identify themselves"
            ),
        ),
        (TOKENS, "token_audience is given without allow, which grants access"),
        (
            {"allow": ["*=a", "dns:b=a"], **TOKENS},
            "allow dns:b=a is about certificates and needs tls_client_ca",
        ),
        (
            {"allow": ["spiffe://a/b=c"], **TOKENS},
            "allow spiffe://a/b=c is about certificates and needs tls_client_ca",
        ),
        (
            {"allow": ["serviceaccount:a/b=c"], **TLS},
            "allow serviceaccount:a/b=c is about tokens and needs token_audience",
        ),
        (
            {"token_audience": "a b"},
            "--token-audience 'a b': expected an audience such as lookaside, without spaces",
        ),
    ],
)
def test_rights_that_nobody_could_use_are_refused(
    flags: dict[str, str | list[str]], sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(flags, {})

    assert str(refused.value) == sentence


def test_certificates_and_tokens_go_together() -> None:
    allow = ["spiffe://a/b=c", "serviceaccount:a/b=c"]

    settings = load({"allow": allow, **TLS, **TOKENS}, {})

    assert [str(each) for each in settings.allow] == allow


def test_nothing_said_leaves_everything_open() -> None:
    assert (Settings().allow, Settings().token_audience) == ((), None)
