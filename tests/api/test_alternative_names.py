"""Certificates of which gRPC would give other names than their authority has put in."""

import ipaddress

import pytest
import trustme
from cryptography import x509

from lookaside.api.alternative_names import has_cut_names
from tests.certificates import issue

URI, DNS, MAIL = x509.UniformResourceIdentifier, x509.DNSName, x509.RFC822Name
ZEROS = x509.IPAddress(ipaddress.ip_address("10.0.0.0"))


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(
    ("names", "cut"),
    [
        ([], False),
        ([DNS("cart.shop"), URI("spiffe://a/b"), MAIL("a@b"), ZEROS], False),
        ([DNS("cart.shop\0.evil")], True),
        ([URI("spiffe://a/b\0/c")], True),
        ([MAIL("a@b\0")], True),
        ([DNS("\0")], True),
        ([ZEROS, DNS("cart.shop"), DNS("x" * 300 + "\0")], True),
        ([DNS(f"n{number}.shop") for number in range(2000)], False),
        ([*(DNS(f"n{number}.shop") for number in range(2000)), DNS("a\0b")], True),
    ],
)
def test_a_name_with_a_nul_is_seen(
    ca: trustme.CA, names: list[x509.GeneralName], cut: bool
) -> None:
    _, pem = issue(ca, *names)
    assert has_cut_names(pem) is cut


@pytest.mark.parametrize("pem", [b"", b"PEM", b"\xff"])
def test_what_is_no_certificate_has_no_names(pem: bytes) -> None:
    assert not has_cut_names(pem)
