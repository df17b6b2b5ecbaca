"""`lookaside check` on a real API server: what an account may do is told before it serves."""

import json
import os
import subprocess

import pytest

from tests.cluster.accounts import Account
from tests.cluster.api import Object
from tests.cluster.balancer import LEAST_RIGHTS, READ_SLICES, lookaside, quiet
from tests.cluster.objects import Namespace


@pytest.mark.parametrize("everywhere", [True, False], ids=["cluster", "namespace"])
def test_the_least_rights_pass(namespace: Namespace, everywhere: bool) -> None:
    account = namespace.service_account("reader", LEAST_RIGHTS, everywhere=everywhere)
    scope = [] if everywhere else ["--namespace", namespace.name]

    code, found = _check(account, *scope)

    assert (code, _of("failed", found)) == (0, {})
    where = "all namespaces" if everywhere else f"the namespace {namespace.name}"
    assert _of("ok", found).keys() >= {
        "API server",
        f"list and watch endpointslices in {where}",
        f"list and watch services in {where}",
    }


def test_each_right_that_lacks_is_told_with_the_rule_that_gives_it(namespace: Namespace) -> None:
    account = namespace.service_account("reader", [READ_SLICES], everywhere=True)

    code, found = _check(account, "--pods")

    assert code == 1
    failed = _of("failed", found)
    assert failed.keys() == {
        "list and watch services in all namespaces",
        "list and watch pods in all namespaces",
    }
    for resource in ("services", "pods"):
        outcome = failed[f"list and watch {resource} in all namespaces"]
        assert outcome["says"] == "may not list or watch"
        assert outcome["hint"] == (
            f'a ClusterRole needs the rule apiGroups: [""], resources: ["{resource}"], '
            'verbs: ["list", "watch"]'
        )
        # The rule as it is told is the rule that helps.
        rule = {"apiGroups": [""], "resources": [resource], "verbs": ["list", "watch"]}
        namespace.grant(f"{resource}-later", [rule], account="reader", everywhere=True)

    assert _check(account, "--pods")[0] == 0


def test_a_token_that_has_been_deleted_is_told(namespace: Namespace) -> None:
    account = namespace.service_account("reader", LEAST_RIGHTS, everywhere=True)
    namespace.delete_account("reader")

    code, found = _check(account)

    assert code == 1
    assert _of("failed", found)["API server"]["hint"] == (
        "the server rejects the token, or the user of the kubeconfig file"
    )


def _check(account: Account, *flags: str) -> tuple[int, list[Object]]:
    """Run the command with an account's token; its exit code, and what each check found."""
    source = ["--source", "kubernetes", "--kubeconfig", str(account.kubeconfig)]
    done = subprocess.run(
        lookaside("check", *source, "--no-ports", "-o", "json", *flags),
        env={**os.environ, **quiet()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    found: list[Object] = json.loads(done.stdout)["checks"]
    return done.returncode, found


def _of(result: str, found: list[Object]) -> dict[str, Object]:
    return {each["check"]: each for each in found if each["result"] == result}
