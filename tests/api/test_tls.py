import time
from pathlib import Path

import grpc
import pytest
import trustme

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from lookaside.api.tls import TlsFiles, server_credentials
from lookaside.errors import ConfigError
from tests.api.conftest import Balancer, record


def write(ca: trustme.CA, folder: Path, *, client_ca: trustme.CA | None = None) -> TlsFiles:
    certificate = ca.issue_cert("127.0.0.1")
    ca_file = folder / "ca.crt" if client_ca else None
    files = TlsFiles(folder / "tls.crt", folder / "tls.key", ca_file)
    certificate.cert_chain_pems[0].write_to_path(files.cert)
    certificate.private_key_pem.write_to_path(files.key)
    if client_ca and ca_file:
        client_ca.cert_pem.write_to_path(ca_file)
    return files


async def ask(balancer: Balancer, credentials: grpc.ChannelCredentials) -> pb.GetServersResponse:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.secure_channel(balancer.address, credentials, options) as channel:
        response: pb.GetServersResponse = await LoadBalancerStub(channel).GetServers(
            pb.GetServersRequest(service_name="greeter")
        )
        return response


def trusting(ca: trustme.CA) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(ca.cert_pem.bytes())


async def test_lists_are_served_over_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    balancer = Balancer(tls=write(ca, tmp_path))
    balancer.sync(record("10.0.0.1"))
    await balancer.server.start()
    assert len((await ask(balancer, trusting(ca))).servers) == 1
    await balancer.server.stop(0)


async def test_a_rotated_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    balancer = Balancer(tls=write(old, tmp_path))
    balancer.sync(record("10.0.0.1"))
    await balancer.server.start()
    await ask(balancer, trusting(old))
    write(new, tmp_path)
    assert len((await ask(balancer, trusting(new))).servers) == 1
    assert len(balancer.observer.ends) == 2
    assert all(ends > time.time() for ends in balancer.observer.ends)
    with pytest.raises(grpc.aio.AioRpcError):
        await ask(balancer, trusting(old))
    await balancer.server.stop(0)


@pytest.mark.parametrize("damage", ["other key", "garbage", "gone"])
async def test_a_broken_rotation_changes_nothing(tmp_path: Path, damage: str) -> None:
    ca = trustme.CA()
    files = write(ca, tmp_path)
    balancer = Balancer(tls=files)
    balancer.sync(record("10.0.0.1"))
    await balancer.server.start()
    match damage:
        case "other key":
            ca.issue_cert("127.0.0.1").private_key_pem.write_to_path(files.key)
        case "garbage":
            files.cert.write_text("no certificate")
        case "gone":
            files.cert.unlink()
    assert len((await ask(balancer, trusting(ca))).servers) == 1
    write(ca, tmp_path)
    assert len((await ask(balancer, trusting(ca))).servers) == 1
    await balancer.server.stop(0)


async def test_mutual_tls_asks_for_a_certificate_of_the_right_authority(tmp_path: Path) -> None:
    ca, clients, strangers = trustme.CA(), trustme.CA(), trustme.CA()
    balancer = Balancer(tls=write(ca, tmp_path, client_ca=clients))
    balancer.sync(record("10.0.0.1"))
    await balancer.server.start()

    def showing(authority: trustme.CA) -> grpc.ChannelCredentials:
        own = authority.issue_cert("client.example")
        return grpc.ssl_channel_credentials(
            ca.cert_pem.bytes(), own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
        )

    assert len((await ask(balancer, showing(clients))).servers) == 1
    for refused in (trusting(ca), showing(strangers)):
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(balancer, refused)
    await balancer.server.stop(0)


def test_files_that_do_not_fit_are_refused_at_the_start(tmp_path: Path) -> None:
    ca = trustme.CA()
    files = write(ca, tmp_path)
    ca.issue_cert("127.0.0.1").private_key_pem.write_to_path(files.key)
    with pytest.raises(ConfigError, match=r"tls\.key is not the key of the certificate in "):
        server_credentials(files)
    files.key.unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*tls\.key: No such file"):
        server_credentials(files)
    files = TlsFiles(*(write(ca, tmp_path).cert, files.key), tmp_path / "ca.crt")
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(ConfigError, match=r"ca\.crt holds no certificate in PEM form"):
        server_credentials(files)
