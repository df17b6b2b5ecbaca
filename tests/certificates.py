"""Certificates with names of any kind, which trustme does not make."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)


def issue(ca: trustme.CA, *names: x509.GeneralName) -> tuple[bytes, bytes]:
    """Return a client's key and certificate, PEM, with these subject alternative names."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    authority = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "spiffe://a/common")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
    )


def showing(
    server: trustme.CA, clients: trustme.CA, *names: x509.GeneralName
) -> grpc.ChannelCredentials:
    """Return the credentials of a client with such a certificate."""
    key, certificate = issue(clients, *names)
    return grpc.ssl_channel_credentials(server.cert_pem.bytes(), key, certificate)


@dataclass(frozen=True)
class Shape:
    """What the certificates of an authority and of its server say beside the least.

    Attributes:
        subject_key: The authority has a subject key identifier.
        authority_key: The server's certificate has an authority key identifier.
        key_usage: The authority has a key usage.
        critical: The authority's basic constraints are critical.
    """

    subject_key: bool = True
    authority_key: bool = True
    key_usage: bool = True
    critical: bool = True


@dataclass(frozen=True)
class Issued:
    """An authority and a server's certificate of it, PEM."""

    authority: bytes
    key: bytes
    certificate: bytes


def shaped(
    shape: Shape, *, address: str | None = "127.0.0.1", valid_days: Sequence[int] = (-1, 1)
) -> Issued:
    """Make an authority of this shape and the certificate of a server at an address.

    Args:
        shape: The extensions.
        address: The IP address that the server's certificate is for; None: 127.0.0.1 is its common
            name alone.
        valid_days: From when to when it is valid, in days from now.
    """
    signer, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    root = _builder(name, name, signer.public_key(), (-10, 10)).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=shape.critical
    )
    if shape.key_usage:
        root = root.add_extension(_KEY_USAGE, critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
    if shape.subject_key:
        root = root.add_extension(identifier, critical=False)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    leaf = _builder(subject, name, key.public_key(), valid_days)
    if address is not None:
        names = [x509.IPAddress(ipaddress.ip_address(address))]
        leaf = leaf.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if shape.authority_key:
        leaf = leaf.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    return Issued(
        root.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        leaf.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
    )


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: Sequence[int]
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    begin, end = (now + day * _DAY for day in days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
