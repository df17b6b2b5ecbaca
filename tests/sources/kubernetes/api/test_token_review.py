"""TokenReviews, asked for at an API server on loopback."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
from aiohttp import web

from lookaside.model import ServiceAccount
from lookaside.sources.kubernetes import Client, Kubeconfig, KubernetesTokens
from lookaside.sources.kubernetes.api.errors import (
    ApiStatus,
    KubernetesError,
    MalformedResponse,
    Unreachable,
)
from lookaside.sources.kubernetes.api.token_review import reviewed

CART = ServiceAccount("shop", "cart")


def answer(**status: Any) -> bytes:
    return json.dumps({"kind": "TokenReview", "status": status}).encode()


def good(username: str = "system:serviceaccount:shop:cart", **more: Any) -> bytes:
    user = {"username": username, "uid": "u", "groups": ["system:serviceaccounts"]}
    status = {"authenticated": True, "user": user, "audiences": ["lookaside"], **more}
    return answer(**status)


@pytest.mark.parametrize(
    ("body", "account"),
    [
        (good(), CART),
        (good(audiences=["other", "lookaside"]), CART),
        (good(audiences=["other"]), None),
        (good(audiences=[]), None),
        (good(audiences=None), None),
        (good(authenticated=False), None),
        (good("admin"), None),
        (good("system:serviceaccount:shop"), None),
        (good("system:node:n1"), None),
        (answer(error="token has expired"), None),
        (answer(), None),
    ],
)
def test_what_the_api_server_says_of_a_token(body: bytes, account: ServiceAccount | None) -> None:
    assert reviewed(body, "lookaside") == account


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"status": {"user": 5}}'])
def test_what_is_no_token_review_is_garbled(body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="the answer to a TokenReview can't be read"):
        reviewed(body, "lookaside")


class ApiServer:
    """Reviews the token `good`, or answers with a status."""

    def __init__(self, directory: Path) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.status = 201
        self.body = good()
        self.kubeconfig = directory / "config"
        app = web.Application()
        app.router.add_post("/{path:.*}", self._post)
        self.runner = web.AppRunner(app, shutdown_timeout=0.01)

    async def start(self) -> None:
        await self.runner.setup()
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        await web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=context).start()
        ca = base64.b64encode(authority.cert_pem.bytes()).decode()
        cluster = {"certificate-authority-data": ca}
        cluster["server"] = f"https://127.0.0.1:{self.runner.addresses[0][1]}"
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "own"}}],
        }
        self.kubeconfig.write_text(json.dumps(content))

    async def _post(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers["Authorization"], await request.json()))
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ApiServer(tmp_path)
    await server.start()
    yield server
    await server.runner.cleanup()


@pytest_asyncio.fixture
async def tokens(server: ApiServer) -> AsyncIterator[KubernetesTokens]:
    tokens = KubernetesTokens(Client(Kubeconfig(server.kubeconfig)), "lookaside")
    await tokens.prepare()
    yield tokens
    await tokens.close()


async def test_a_token_is_reviewed_for_its_audience(
    server: ApiServer, tokens: KubernetesTokens
) -> None:
    assert await tokens.review("a.b.c") == CART

    [(path, authorization, body)] = server.requests
    assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert authorization == "Bearer own"
    assert body == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": "a.b.c", "audiences": ["lookaside"]},
    }


async def test_a_token_that_is_not_good_is_nobodys(
    server: ApiServer, tokens: KubernetesTokens
) -> None:
    server.body = answer(error="invalid bearer token")

    assert await tokens.review("a.b.c") is None


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_an_api_server_that_refuses_says_nothing_of_the_token(
    server: ApiServer, tokens: KubernetesTokens, status: int
) -> None:
    server.status = status
    server.body = json.dumps(
        {"kind": "Status", "code": status, "message": "tokenreviews is forbidden"}
    ).encode()

    with pytest.raises(ApiStatus, match=f"{status}: tokenreviews is forbidden"):
        await tokens.review("a.b.c")


async def test_an_answer_that_is_too_long_is_not_read(
    server: ApiServer, tokens: KubernetesTokens
) -> None:
    server.body = good(extra="x" * 70_000)

    with pytest.raises(KubernetesError, match="65536 bytes"):
        await tokens.review("a.b.c")


NESTED = b"[" * 20_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"status": ' + NESTED,
        b'{"status": {"user": {"username": "\xff"}}}',
    ],
)
async def test_an_answer_that_no_decoder_can_read_is_an_error_of_ours(
    server: ApiServer, tokens: KubernetesTokens, body: bytes
) -> None:
    server.body = body
    with pytest.raises(MalformedResponse, match="the answer to a TokenReview can't be read"):
        await tokens.review("a.b.c")


async def test_what_is_nested_deep_beside_the_answer_is_passed_over(
    server: ApiServer, tokens: KubernetesTokens
) -> None:
    server.body = good().replace(b'"uid"', b'"extra": ' + NESTED + b"]" * 20_000 + b', "uid"')
    assert await tokens.review("a.b.c") == CART


async def test_an_api_server_that_is_gone_cannot_be_asked(
    server: ApiServer, tokens: KubernetesTokens
) -> None:
    await server.runner.cleanup()

    with pytest.raises(Unreachable):
        await tokens.review("a.b.c")


async def test_reviews_at_once_are_answered_each_its_own(
    server: ApiServer, tokens: KubernetesTokens
) -> None:
    answers = await asyncio.gather(*(tokens.review(str(each)) for each in range(50)))

    assert answers == [CART] * 50
    assert sorted(int(body["spec"]["token"]) for _, _, body in server.requests) == list(range(50))


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":{"authenticated":true,"audiences":["\xff"]}}',
        b'{"status":{"user":{"username":"\xff"}}}',
        b'{"status":{"user":{"username":' + b"[" * 9_999 + b"]" * 9_999 + b"}}}",
    ],
    ids=["no UTF-8 in an audience", "no UTF-8 in a name", "nested too deep"],
)
def test_whatever_an_answer_holds_it_is_garbled_at_worst(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        reviewed(body, "lb")
