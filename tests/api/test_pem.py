"""PEM files: what is said of those that can't be used."""

import math
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lookaside.api.pem import load_authorities, load_pair, not_after
from lookaside.errors import ConfigError

_GARBLED = "-----BEGIN {0}-----\nMIIx\n-----END {0}-----\n"


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pems")
    authority = trustme.CA()
    issued = authority.issue_cert("a.example")
    held = {
        "cert": issued.cert_chain_pems[0].bytes(),
        "key": issued.private_key_pem.bytes(),
        "others": authority.issue_cert("b.example").private_key_pem.bytes(),
        "rsa": rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        "der": ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()),
        "empty": b"",
        "garbled-cert": _GARBLED.format("CERTIFICATE").encode(),
        "garbled-key": _GARBLED.format("PRIVATE KEY").encode(),
    }
    key = serialization.load_pem_private_key(held["key"], None)
    for name, kind in (
        ("locked", serialization.PrivateFormat.PKCS8),
        ("locked-too", serialization.PrivateFormat.TraditionalOpenSSL),
    ):
        lock = serialization.BestAvailableEncryption(b"secret")
        held[name] = key.private_bytes(serialization.Encoding.PEM, kind, lock)
    for name, content in held.items():
        (folder / name).write_bytes(content)
    return folder


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def test_a_pair_that_fits_is_loaded_and_returned(pems: Path) -> None:
    pair = load_pair(context(), pems / "cert", pems / "key")

    assert pair == ((pems / "cert").read_bytes(), (pems / "key").read_bytes())


@pytest.mark.parametrize(
    ("cert", "key", "sentence"),
    [
        ("none", "key", "cannot read @none: No such file or directory"),
        ("cert", "none", "cannot read @none: No such file or directory"),
        ("cert", "", "cannot read @: Is a directory"),
        ("empty", "key", "@empty holds no certificate in PEM form"),
        ("der", "key", "@der holds no certificate in PEM form"),
        ("garbled-cert", "key", "@garbled-cert holds no certificate in PEM form"),
        ("key", "cert", "@key holds no certificate in PEM form"),
        ("cert", "empty", "@empty holds no private key in PEM form"),
        ("cert", "cert", "@cert holds no private key in PEM form"),
        ("cert", "garbled-key", "@garbled-key holds no private key in PEM form"),
        ("cert", "locked", "@locked is encrypted; expected a private key without a passphrase"),
        (
            "cert",
            "locked-too",
            "@locked-too is encrypted; expected a private key without a passphrase",
        ),
        ("cert", "others", "@others is not the key of the certificate in @cert"),
        ("cert", "rsa", "@rsa is not the key of the certificate in @cert"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused_with_the_file_that_is_wrong(
    pems: Path, cert: str, key: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pair(context(), pems / cert, pems / key)

    # A path does not end in a slash.
    assert str(caught.value) == sentence.replace("@:", f"{pems}:").replace("@", f"{pems}/")


def test_a_certificate_that_openssl_finds_too_weak_is_refused_with_its_reason(
    pems: Path,
) -> None:
    strict = context()
    strict.set_ciphers("DEFAULT@SECLEVEL=5")

    with pytest.raises(ConfigError, match=r"/cert and .*/key can't be used: ee key too small"):
        load_pair(strict, pems / "cert", pems / "key")


def test_authorities_are_loaded_and_returned(pems: Path) -> None:
    trusting = context()

    assert load_authorities(trusting, pems / "cert") == (pems / "cert").read_bytes()
    assert trusting.cert_store_stats()["x509"] == 1


@pytest.mark.parametrize("name", ["key", "der", "empty", "garbled-cert"])
def test_a_file_without_authorities_is_refused(pems: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{pems}/{name} holds no certificate in PEM form$"):
        load_authorities(context(), pems / name)


@pytest.mark.parametrize("year", [2024, 2049, 2050, 2120])
def test_the_end_of_a_chain_s_first_certificate_is_read_in_both_forms_of_time(year: int) -> None:
    ends = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    chain = trustme.CA().issue_cert("localhost", not_after=ends)
    pem = b"a comment\n" + b"".join(one.bytes() for one in chain.cert_chain_pems)
    assert not_after(pem) == ends.timestamp()


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    ],
)
def test_the_end_of_what_is_no_certificate_is_nan(pem: bytes) -> None:
    assert math.isnan(not_after(pem))
