"""Who calls, and which namespaces that caller may ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography import x509
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from lookaside.api.authorization import Authorizer, Caller, Grant, bearer, certified, granted
from lookaside.api.tls import TlsFiles
from lookaside.config.access import allowance
from lookaside.errors import IdentityUnverified, NotAllowed, Unidentified
from lookaside.model import ServiceAccount, ServiceKey
from tests.api.conftest import Balancer, record
from tests.certificates import issue, showing

CART = ServiceAccount("shop", "cart")
BY_TOKEN = Caller(account=CART)
BY_SPIFFE = Caller(certified=True, spiffe="spiffe://a.b/ns/shop/sa/cart")
BY_DNS = Caller(certified=True, dns=("cart.shop", "cart.example"))
NAMELESS = Caller(certified=True)
CODE = grpc.StatusCode


@pytest.mark.parametrize(
    ("identity", "caller", "meant"),
    [
        ("spiffe://a.b/ns/shop/sa/cart", BY_SPIFFE, True),
        ("spiffe://a.b/ns/shop/*", BY_SPIFFE, True),
        ("spiffe://a.b/ns/sh*", BY_SPIFFE, True),
        ("spiffe://a.b/*", BY_SPIFFE, True),
        ("spiffe://a.b/ns/shop/sa", BY_SPIFFE, False),
        ("spiffe://a.b/ns/shop/sa/cart/x", BY_SPIFFE, False),
        ("spiffe://a.b/ns/shop/sa/Cart", BY_SPIFFE, False),
        ("spiffe://a/*", BY_SPIFFE, False),
        ("spiffe://a.b/*", BY_DNS, False),
        ("spiffe://a.b/*", NAMELESS, False),
        ("dns:cart.shop", BY_DNS, True),
        ("dns:cart.example", BY_DNS, True),
        ("dns:*.shop", BY_DNS, True),
        ("dns:shop", BY_DNS, False),
        ("dns:*.cart.shop", BY_DNS, False),
        ("dns:*.shop", Caller(certified=True, dns=("a.cart.shop",)), False),
        ("dns:*.shop", Caller(certified=True, dns=("shop", ".shop")), False),
        ("dns:cart.shop", BY_SPIFFE, False),
        ("serviceaccount:shop/cart", BY_TOKEN, True),
        ("serviceaccount:shop/*", BY_TOKEN, True),
        ("serviceaccount:*/cart", BY_TOKEN, True),
        ("serviceaccount:*/*", BY_TOKEN, True),
        ("serviceaccount:pay/cart", BY_TOKEN, False),
        ("serviceaccount:shop/car", BY_TOKEN, False),
        ("serviceaccount:*/*", BY_SPIFFE, False),
        ("*", BY_TOKEN, True),
        ("*", BY_SPIFFE, True),
        ("*", NAMELESS, True),
        ("*", Caller(), False),
    ],
)
def test_a_right_is_meant_for_some_callers(identity: str, caller: Caller, meant: bool) -> None:
    assert caller.is_meant_by(allowance(f"{identity}=x")) is meant


@pytest.mark.parametrize(
    ("caller", "rights", "namespaces"),
    [
        (BY_TOKEN, ["serviceaccount:shop/*=a,b", "*=c", "serviceaccount:pay/*=d"], {"a", "b", "c"}),
        (BY_TOKEN, ["*=."], {"shop"}),
        (BY_TOKEN, ["*=.,a"], {"a", "shop"}),
        (BY_TOKEN, ["serviceaccount:*/*=a", "*=*"], None),
        (BY_SPIFFE, ["*=."], set()),
        (BY_SPIFFE, ["dns:cart.shop=a"], set()),
        (
            Caller(certified=True, spiffe="spiffe://a/b", account=CART),
            ["spiffe://a/b=a", "serviceaccount:shop/cart=b"],
            {"a", "b"},
        ),
    ],
)
def test_a_caller_may_ask_for_what_any_of_its_rights_gives(
    caller: Caller, rights: list[str], namespaces: set[str] | None
) -> None:
    expected = None if namespaces is None else frozenset(namespaces)

    assert granted(caller, map(allowance, rights)).namespaces == expected


def test_a_caller_who_shows_nothing_is_not_one() -> None:
    with pytest.raises(Unidentified):
        granted(Caller(), [allowance("*=*")])


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        (BY_SPIFFE, "spiffe://a.b/ns/shop/sa/cart"),
        (BY_DNS, "dns:cart.shop and dns:cart.example"),
        (BY_TOKEN, "serviceaccount:shop/cart"),
        (NAMELESS, "a certificate without SPIFFE id and DNS name"),
        (
            Caller(certified=True, spiffe="spiffe://a/b", account=CART),
            "spiffe://a/b and serviceaccount:shop/cart",
        ),
    ],
)
def test_a_refusal_names_the_caller_and_the_namespace(caller: Caller, words: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        granted(caller, []).require("pay")

    assert str(refused.value) == f"{words} may not ask for the namespace pay"


@pytest.mark.parametrize(
    ("auth", "caller"),
    [
        ({}, Caller()),
        ({"transport_security_type": [b"ssl"]}, Caller()),
        ({"peer_spiffe_id": [b"spiffe://a/b"]}, Caller()),
        ({"x509_pem_cert": [b"PEM"]}, NAMELESS),
        (
            {"x509_pem_cert": [b"PEM"], "peer_spiffe_id": [b"spiffe://a/b"]},
            Caller(certified=True, spiffe="spiffe://a/b"),
        ),
        (
            {"x509_pem_cert": [b"PEM"], "peer_dns": [b"A.b", b"*.c"]},
            Caller(certified=True, dns=("a.b",)),
        ),
        (
            {"x509_pem_cert": [b"PEM"], "x509_subject_alternative_name": [b"a.b"]},
            NAMELESS,
        ),
    ],
)
def test_a_certificate_says_who_calls(auth: dict[str, list[bytes]], caller: Caller) -> None:
    assert certified(auth) == caller


@pytest.mark.parametrize(
    "strange",
    [
        "spiffe://a/ns/../admin",
        "spiffe://a/ns/.",
        "spiffe://a/ns/x?y=z",
        "spiffe://a/ns/x#y",
        "spiffe://a/ns/",
        "spiffe://a/ns//x",
        "spiffe://A/ns/x",
        "spiffe://a:443/ns/x",
        "spiffe://me@a/ns/x",
        "spiffe://a/ns/%2e%2e",
        "spiffe://a/ns/x\x00",
        "spiffe://a/ns/" + "x" * 2048,
        "https://a/ns/x",
    ],
)
def test_what_is_no_spiffe_id_gives_no_right(strange: str) -> None:
    auth = {"x509_pem_cert": [b"PEM"], "peer_spiffe_id": [strange.encode()]}
    caller = certified(auth)
    assert caller == Caller(True)
    assert granted(caller, [allowance("spiffe://a/*=shop")]).namespaces == frozenset()


@pytest.mark.parametrize(
    ("metadata", "token"),
    [
        ([], ""),
        ([("authorization", "Bearer a.b.c")], "a.b.c"),
        ([("authorization", "bearer  a ")], "a"),
        ([("authorization", "Basic a")], ""),
        ([("authorization", "Basic a"), ("authorization", "Bearer b")], "b"),
        ([("authorization", "Bearer")], ""),
        ([("x-authorization", "Bearer a")], ""),
        ([("authorization-bin", b"Bearer a")], ""),
    ],
)
def test_a_token_stands_in_the_metadata(
    metadata: list[tuple[str, str | bytes]], token: str
) -> None:
    assert bearer(metadata) == token


def test_two_tokens_are_none() -> None:
    with pytest.raises(Unidentified, match="one token, not several"):
        bearer([("authorization", "Bearer a"), ("authorization", "Bearer b")])


def test_a_grant_of_all_allows_all() -> None:
    Grant("me", None).require("anything")


SERVICES = (
    record("10.0.0.1", key=ServiceKey("shop", "cart")),
    record("10.0.0.1", "10.0.0.2", key=ServiceKey("pay", "bill")),
)


class Reviewer:
    """Knows the token `good`, fails at `later`, and refuses others."""

    async def review(self, token: str, host: str) -> ServiceAccount | None:
        if token == "later":
            raise IdentityUnverified("tokens can't be checked now; try again")
        return CART if token == "good" else None


@pytest.fixture
async def limited() -> AsyncIterator[Balancer]:
    """A balancer that lets ServiceAccounts ask for their own namespace."""
    balancer = Balancer(authorizer=Authorizer([allowance("*=.")], Reviewer()))
    balancer.sync(*SERVICES)
    await balancer.server.start()
    yield balancer
    await balancer.server.stop(0)


@pytest.fixture
async def plain(limited: Balancer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(limited.address) as channel:
        yield channel


def token(text: str) -> grpc.aio.Metadata:
    return grpc.aio.Metadata(("authorization", f"Bearer {text}"))


async def ask(
    channel: grpc.aio.Channel, method: str, name: str, metadata: grpc.aio.Metadata | None
) -> tuple[grpc.StatusCode, str]:
    """Call a method about a service or, for ListServices, a namespace; return the status."""
    stub = LoadBalancerStub(channel)
    try:
        match method:
            case "GetServers":
                await stub.GetServers(pb.GetServersRequest(service_name=name), metadata=metadata)
            case "Explain":
                await stub.Explain(pb.ExplainRequest(service_name=name), metadata=metadata)
            case "ListServices":
                request = pb.ListServicesRequest(namespace=name.partition(".")[2])
                await stub.ListServices(request, metadata=metadata)
            case "WatchServers":
                call = stub.WatchServers(
                    pb.WatchServersRequest(service_name=name), metadata=metadata
                )
                await call.read()
                call.cancel()
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return CODE.OK, ""


@pytest.mark.parametrize("method", ["GetServers", "Explain", "WatchServers", "ListServices"])
@pytest.mark.parametrize(
    ("name", "shown", "code", "details"),
    [
        ("cart.shop", "good", CODE.OK, ""),
        (
            "bill.pay",
            "good",
            CODE.PERMISSION_DENIED,
            "serviceaccount:shop/cart may not ask for the namespace pay",
        ),
        (
            "nobody.pay",
            "good",
            CODE.PERMISSION_DENIED,
            "serviceaccount:shop/cart may not ask for the namespace pay",
        ),
        (
            "cart.shop",
            "bad",
            CODE.UNAUTHENTICATED,
            "the token is not good, or not for this audience",
        ),
        (
            "cart.shop",
            "",
            CODE.UNAUTHENTICATED,
            "show who asks: a client certificate, or a Kubernetes token",
        ),
        ("cart.shop", "later", CODE.UNAVAILABLE, "tokens can't be checked now; try again"),
    ],
)
async def test_every_method_asks_who_calls(
    limited: Balancer,
    plain: grpc.aio.Channel,
    method: str,
    name: str,
    shown: str,
    code: grpc.StatusCode,
    details: str,
) -> None:
    metadata = token(shown) if shown else None

    assert await ask(plain, method, name, metadata) == (code, details)
    if code is not CODE.OK:
        assert limited.observer.requests == [(method, code.name)]
        assert limited.store.watchers == 0


async def test_all_services_are_those_that_the_caller_may_ask_for(
    limited: Balancer, plain: grpc.aio.Channel
) -> None:
    answer = await LoadBalancerStub(plain).ListServices(
        pb.ListServicesRequest(), metadata=token("good")
    )

    assert [each.service for each in answer.services] == ["cart.shop"]


async def health(channel: grpc.aio.Channel, service: str, shown: str) -> grpc.StatusCode | int:
    try:
        answer = await HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=service), metadata=token(shown)
        )
    except grpc.aio.AioRpcError as error:
        return error.code()
    return int(answer.status)


@pytest.mark.parametrize(
    ("service", "shown", "answer"),
    [
        ("", "bad", health_pb2.HealthCheckResponse.SERVING),
        ("lookaside.LoadBalancer", "later", health_pb2.HealthCheckResponse.SERVING),
        ("cart.shop", "good", health_pb2.HealthCheckResponse.SERVING),
        ("bill.pay", "good", CODE.NOT_FOUND),
        ("nobody.pay", "good", CODE.NOT_FOUND),
        ("cart.shop", "bad", CODE.NOT_FOUND),
        ("cart.shop", "later", CODE.UNAVAILABLE),
    ],
)
async def test_the_health_of_a_service_is_for_those_who_may_ask_for_it(
    limited: Balancer,
    plain: grpc.aio.Channel,
    service: str,
    shown: str,
    answer: grpc.StatusCode | int,
) -> None:
    assert await health(plain, service, shown) == answer


async def test_a_health_watch_of_a_forbidden_service_says_unknown_and_nothing_more(
    limited: Balancer, plain: grpc.aio.Channel
) -> None:
    call = HealthStub(plain).Watch(
        health_pb2.HealthCheckRequest(service="bill.pay"), metadata=token("good")
    )

    assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert limited.store.watchers == 0
    call.cancel()


async def test_reflection_is_open(limited: Balancer, plain: grpc.aio.Channel) -> None:
    call = ServerReflectionStub(plain).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))

    services = (await call.read()).list_services_response.service
    assert "lookaside.LoadBalancer" in [each.name for each in services]
    call.cancel()


async def test_a_watch_is_checked_when_it_begins_alone(
    limited: Balancer, plain: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = LoadBalancerStub(plain).WatchServers(
        pb.WatchServersRequest(service_name="cart.shop"), metadata=token("good")
    )
    assert len((await call.read()).servers) == 1

    async def refuse(self: Reviewer, token: str, host: str) -> None:
        return None

    monkeypatch.setattr(Reviewer, "review", refuse)
    limited.update(record("10.0.0.1", "10.0.0.2", key=ServiceKey("shop", "cart")))
    assert len((await call.read()).servers) == 2
    call.cancel()
    assert (await ask(plain, "GetServers", "cart.shop", token("good")))[0] is CODE.UNAUTHENTICATED


async def test_tokens_are_not_looked_at_where_nobody_reviews_them() -> None:
    balancer = Balancer()
    balancer.sync(*SERVICES)
    await balancer.server.start()
    async with grpc.aio.insecure_channel(balancer.address) as channel:
        assert await ask(channel, "GetServers", "bill.pay", token("bad")) == (CODE.OK, "")
    await balancer.server.stop(0)


URI, DNS = x509.UniformResourceIdentifier, x509.DNSName


@pytest.mark.parametrize("name", [DNS("cart.shop\0.evil"), URI("spiffe://a/b\0")])
def test_a_certificate_whose_names_would_be_cut_is_refused(name: x509.GeneralName) -> None:
    _, pem = issue(trustme.CA(), name)
    with pytest.raises(Unidentified, match="a name with a NUL"):
        certified({"x509_pem_cert": [pem], "peer_dns": [b"cart.shop"]})


@pytest.mark.parametrize(
    ("names", "right", "refusal"),
    [
        ([URI("spiffe://a.b/ns/shop/sa/cart")], "spiffe://a.b/ns/shop/*=shop", ""),
        (
            [URI("spiffe://a.b.evil/ns/shop/sa/cart")],
            "spiffe://a.b/ns/shop/*=shop",
            "spiffe://a.b.evil/ns/shop/sa/cart may not ask for the namespace shop",
        ),
        (
            [URI("spiffe://a/b"), URI("spiffe://a/c")],
            "spiffe://a/*=shop",
            "a certificate without SPIFFE id and DNS name may not ask for the namespace shop",
        ),
        ([DNS("other"), DNS("cart.shop")], "dns:*.shop=shop", ""),
        (
            [x509.RFC822Name("cart@shop"), URI("cart.shop")],
            "dns:cart.shop=shop",
            "a certificate without SPIFFE id and DNS name may not ask for the namespace shop",
        ),
        (
            [DNS("*.shop")],
            "dns:*.shop=shop",
            "a certificate without SPIFFE id and DNS name may not ask for the namespace shop",
        ),
        (
            [],
            "spiffe://a/common=shop",
            "a certificate without SPIFFE id and DNS name may not ask for the namespace shop",
        ),
        ([], "*=shop", ""),
    ],
)
async def test_mutual_tls_says_who_calls(
    tmp_path: Path, names: list[x509.GeneralName], right: str, refusal: str
) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    own = ca.issue_cert("127.0.0.1")
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt")
    own.cert_chain_pems[0].write_to_path(files.cert)
    own.private_key_pem.write_to_path(files.key)
    clients.cert_pem.write_to_path(tmp_path / "ca.crt")
    balancer = Balancer(tls=files, authorizer=Authorizer([allowance(right)]))
    balancer.sync(*SERVICES)
    await balancer.server.start()
    async with grpc.aio.secure_channel(
        balancer.address, showing(ca, clients, *names), [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        expected = (CODE.PERMISSION_DENIED, refusal) if refusal else (CODE.OK, "")
        assert await ask(channel, "GetServers", "cart.shop", None) == expected
        assert (await ask(channel, "GetServers", "bill.pay", None))[0] is CODE.PERMISSION_DENIED
    await balancer.server.stop(0)


async def test_a_caller_without_identity_watches_the_overall_health_alone(
    limited: Balancer, plain: grpc.aio.Channel
) -> None:
    stub = HealthStub(plain)
    overall = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await overall.read()).status == health_pb2.HealthCheckResponse.SERVING
    codes = [
        await stub.Watch(health_pb2.HealthCheckRequest(service=name)).code()
        for name in ("cart.shop", "nobody.shop")
    ]
    assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 2
    assert limited.store.watchers == 0
    overall.cancel()
