"""TLS to the backends and to the balancer."""

from collections.abc import Callable

import grpc
import pytest
import trustme

from tests.conformance.clients import Client
from tests.conformance.servers import Backend, Balancer


def served(authority: trustme.CA, *names: str) -> grpc.ServerCredentials:
    cert = authority.issue_cert(*names)
    chain = b"".join(pem.bytes() for pem in cert.cert_chain_pems)
    return grpc.ssl_server_credentials([(cert.private_key_pem.bytes(), chain)])


def trusting(authority: trustme.CA) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes())


async def test_a_backends_certificate_is_for_the_service(
    authority: trustme.CA,
    backend: Callable[..., Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    server = backend(served(authority, "greeter.shop"))
    balancer.say([server.address])
    client = connect(balancer, credentials=trusting(authority))
    assert await client.port() == server.port


async def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA,
    backend: Callable[..., Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    balancer.say([backend(served(authority, "other.shop")).address])
    with pytest.raises(grpc.RpcError) as caught:
        await connect(balancer, credentials=trusting(authority)).unary(timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_another_name_can_be_asked_for(
    authority: trustme.CA,
    backend: Callable[..., Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    server = backend(served(authority, "other.shop"))
    balancer.say([server.address])
    options = [("grpc.ssl_target_name_override", "other.shop")]
    for target in (f"static:///{server.address}", f"dns:///{server.address}", balancer):
        client = connect(target, credentials=trusting(authority), options=options)
        assert await client.port() == server.port


async def test_the_balancers_connection_has_credentials_of_its_own(
    authority: trustme.CA,
    backend: Callable[..., Backend],
    new_balancer: Callable[..., Balancer],
    connect: Callable[..., Client],
) -> None:
    balancer = new_balancer(credentials=served(authority, "127.0.0.1"))
    server = backend()
    balancer.say([server.address])
    client = connect(balancer, balancer_credentials=trusting(authority))
    assert await client.port() == server.port
