"""Certificates with names of any kind, which trustme does not make."""

import datetime as dt

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
