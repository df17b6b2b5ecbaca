"""Who may ask for what, by Kubernetes tokens that the real API server reviews."""

import http
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import pytest

from tests.cluster.api import ApiClient, ApiError
from tests.cluster.balancer import LEAST_RIGHTS, REVIEW_TOKENS, Balancer, served
from tests.cluster.handmade import at_port, body
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import Namespace

AUDIENCE: Final = "lookaside"
WAIT: Final = 30.0


@pytest.fixture
def other(control_plane: ControlPlane, namespace: Namespace) -> Iterator[Namespace]:
    """A second namespace, with a Service `greeter` too."""
    created = Namespace.create(control_plane, f"{namespace.name}-other")
    _fill(created)
    yield created
    created.delete()


@pytest.fixture
def balancer(namespace: Namespace, other: Namespace, tmp_path: Path) -> Iterator[Balancer]:
    """The service, for callers of its audience; the accounts `caller` of all namespaces may ask.

    Its own account may review tokens, beside what it needs in every case.
    """
    _fill(namespace)
    for each in (namespace, other):
        each.service_account("caller")
    rules = [*LEAST_RIGHTS, REVIEW_TOKENS]
    account = namespace.service_account("lookaside", rules, everywhere=True)
    with Balancer(account.kubeconfig, tmp_path, *_flags("*/caller=.")) as running:
        running.wait_ready()
        yield running


def test_a_caller_gets_the_lists_of_its_own_namespace_and_no_other(
    balancer: Balancer, namespace: Namespace, other: Namespace
) -> None:
    for own, foreign in [(namespace, other), (other, namespace)]:
        token = own.token("caller", AUDIENCE)
        listed = balancer.get(f"greeter.{own.name}", token=token)
        assert served(listed) == at_port("192.0.2.1")
        code, details = balancer.refusal(f"greeter.{foreign.name}", token=token)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert f"{own.name}/caller" in details
        assert f"may not ask for the namespace {foreign.name}" in details
        # Nothing is said of what is there.
        again = balancer.refusal(f"nobody.{foreign.name}", token=token)
        assert again == (code, details)


def test_a_caller_without_a_good_token_is_not_known(
    balancer: Balancer, namespace: Namespace
) -> None:
    good = namespace.token("caller", AUDIENCE)
    refused = {
        "none": "",
        "of the API server": namespace.token("caller"),
        "of another audience": namespace.token("caller", "another"),
        "that was changed": f"{good[:-8]}AAAAAAAA",
        "that is no token": "hello",
    }
    for kind, token in refused.items():
        code, details = balancer.refusal(f"greeter.{namespace.name}", token=token)
        assert code is grpc.StatusCode.UNAUTHENTICATED, kind
        assert "token" in details, kind
    several = namespace.token("caller", "another", AUDIENCE)
    assert served(balancer.get(f"greeter.{namespace.name}", token=several))


def test_an_account_that_is_not_named_may_ask_for_nothing(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service_account("stranger")
    token = namespace.token("stranger", AUDIENCE)
    code, details = balancer.refusal(f"greeter.{namespace.name}", token=token)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert f"{namespace.name}/stranger" in details


def test_the_token_of_an_account_that_was_deleted_is_not_good(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service_account("leaver")
    token = namespace.token("leaver", AUDIENCE)
    probe = namespace.control_plane.client(namespace.token("leaver"))
    namespace.delete_account("leaver")
    # The API server may remember the account for a moment.
    balancer.process.wait_until(lambda: not _is_known(probe), WAIT)
    code, _ = balancer.refusal(f"greeter.{namespace.name}", token=token)
    assert code is grpc.StatusCode.UNAUTHENTICATED


def test_the_commands_show_a_token_from_a_file(
    balancer: Balancer, namespace: Namespace, other: Namespace, tmp_path: Path
) -> None:
    shown = tmp_path / "token"
    shown.write_text(namespace.token("caller", AUDIENCE))
    file = ("--token-file", str(shown), "--insecure-token")
    listed = balancer.command("get", f"greeter.{namespace.name}", *file)
    assert listed.returncode == 0, listed.stderr
    assert "192.0.2.1:50051" in listed.stdout
    assert balancer.command("explain", f"greeter.{namespace.name}", *file).returncode == 0
    # Of all services those are told that the caller may ask for.
    rows = balancer.command("list", *file).stdout.splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == [f"greeter.{namespace.name}:grpc"]
    refused = balancer.command("get", f"greeter.{other.name}", *file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"may not ask for the namespace {other.name}" in refused.stderr
    assert balancer.command("get", f"greeter.{namespace.name}").returncode == 1


def test_a_service_that_may_not_review_tokens_says_so_and_heals_when_it_may(
    namespace: Namespace, tmp_path: Path
) -> None:
    _fill(namespace)
    account = namespace.service_account("lookaside", LEAST_RIGHTS, everywhere=True)
    namespace.service_account("caller")
    token = namespace.token("caller", AUDIENCE)
    service = f"greeter.{namespace.name}"
    allowed = _flags(f"{namespace.name}/caller=.")
    with Balancer(account.kubeconfig, tmp_path, *allowed) as balancer:
        balancer.wait_ready()
        code, details = balancer.refusal(service, token=token)
        assert (code, details) == (
            grpc.StatusCode.UNAVAILABLE,
            "tokens can't be checked now; try again",
        )
        [told] = balancer.log("tokens can't be checked")
        assert "tokenreviews" in told["reason"]
        namespace.grant("reviewer", [REVIEW_TOKENS], account="lookaside", everywhere=True)
        balancer.process.wait_until(lambda: _answers(balancer, service, token), WAIT)
        assert served(balancer.get(service, token=token)) == at_port("192.0.2.1")


def _flags(allowed: str) -> tuple[str, ...]:
    return ("--token-audience", AUDIENCE, "--allow", f"serviceaccount:{allowed}")


def _fill(namespace: Namespace) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))


def _answers(balancer: Balancer, service: str, token: str) -> bool:
    try:
        balancer.get(service, token=token)
    except grpc.RpcError:
        return False
    return True


def _is_known(client: ApiClient) -> bool:
    try:
        client.get("/version")
    except ApiError as refusal:
        return refusal.status != http.HTTPStatus.UNAUTHORIZED
    return True
