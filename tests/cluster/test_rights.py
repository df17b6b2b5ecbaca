"""The service with the least rights, with fewer than it needs, and with one namespace alone."""

import time
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from lookaside._pb import lookaside_pb2 as pb
from tests.cluster.accounts import Account
from tests.cluster.api import Object
from tests.cluster.balancer import LEAST_RIGHTS, READ_SLICES, Balancer, served
from tests.cluster.handmade import at_port, body
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import Namespace

_RULES: Final = {
    "endpointslices": 'apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"]',
    "services": 'apiGroups: [""], resources: ["services"]',
}


@pytest.mark.parametrize(
    ("granted", "missing"),
    [([], ["endpointslices", "services"]), ([READ_SLICES], ["services"])],
    ids=["none", "slices"],
)
def test_a_missing_right_is_named_once_and_heals_when_it_is_granted(
    namespace: Namespace, tmp_path: Path, granted: list[Object], missing: list[str]
) -> None:
    account = namespace.service_account("reader", granted, everywhere=True)
    namespace.service("greeter")
    name = f"greeter.{namespace.name}"
    with Balancer(account.kubeconfig, tmp_path) as balancer:
        # Refused again and again, it still says so once for each resource.
        balancer.process.wait_until(lambda: _refusals(balancer) >= 2 * len(missing), timeout=30)
        balancer.process.wait_until(lambda: len(balancer.log("forbidden")) >= len(missing), 30)
        forbidden = balancer.log("forbidden")
        assert sorted(line["resource"] for line in forbidden) == missing
        for line in forbidden:
            assert "a ClusterRole needs the rule" in line["missing"]
            assert _RULES[line["resource"]] in line["missing"]
            assert 'verbs: ["list", "watch"]' in line["missing"]

        status, reason = balancer.readiness()
        assert (status, "first list" in reason) == (503, True)
        assert _health(balancer) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert balancer.refusal(name)[0] is grpc.StatusCode.UNAVAILABLE
        assert balancer.command("get", name).returncode == 4

        namespace.grant("reader-later", LEAST_RIGHTS, account="reader", everywhere=True)
        balancer.wait_ready()
        assert _health(balancer) == health_pb2.HealthCheckResponse.SERVING
        assert balancer.get(name).service == f"{name}:grpc"
        assert len(balancer.log("recovered")) == len(missing)


def test_the_least_rights_are_enough_and_nothing_is_refused(
    account: Account, namespace: Namespace, tmp_path: Path
) -> None:
    namespace.service("greeter")
    with Balancer(account.kubeconfig, tmp_path) as balancer:
        balancer.wait_ready()
        balancer.wait_for(f"greeter.{namespace.name}")
        assert balancer.readiness() == (200, "ok\n")
        assert not balancer.log("forbidden")
        assert not balancer.log("interrupted")


def test_one_namespace_needs_a_role_in_it_and_shows_no_other(
    namespace: Namespace, tmp_path: Path
) -> None:
    account = namespace.service_account("reader", LEAST_RIGHTS)
    namespace.service("greeter")
    with Balancer(account.kubeconfig, tmp_path, "--namespace", namespace.name) as balancer:
        balancer.wait_ready()
        name = f"greeter.{namespace.name}"
        assert balancer.get(name).service == f"{name}:grpc"
        # There is one in every cluster.
        assert balancer.refusal("kubernetes.default")[0] is grpc.StatusCode.NOT_FOUND
        listed = balancer.command("list").stdout.splitlines()
        assert [line.split("\t")[0] for line in listed[1:]] == [f"{name}:grpc"]


def test_one_namespace_without_its_role_asks_for_a_role(
    namespace: Namespace, tmp_path: Path
) -> None:
    account = namespace.service_account("reader")
    with Balancer(account.kubeconfig, tmp_path, "--namespace", namespace.name) as balancer:
        balancer.process.wait_until(lambda: len(balancer.log("forbidden")) == 2, timeout=30)
        for line in balancer.log("forbidden"):
            assert f"a Role in namespace '{namespace.name}' needs the rule" in line["missing"]


def test_a_namespace_whose_role_goes_later_is_lost_by_itself(
    control_plane: ControlPlane, namespace: Namespace, tmp_path: Path
) -> None:
    account = namespace.service_account("reader", LEAST_RIGHTS)
    other = Namespace.create(control_plane, f"{namespace.name}-b")
    bind = other.bind("reader", LEAST_RIGHTS, f"system:serviceaccount:{namespace.name}:reader")
    for each in (namespace, other):
        each.service("greeter", selector={})
        each.slice("greeter-1", "greeter", body(["10.1.0.1"]))
    mine, theirs = f"greeter.{namespace.name}", f"greeter.{other.name}"
    flags = ["--namespace", namespace.name, "--namespace", other.name, "--stale-after", "10s"]

    def said(event: str, *changed: Namespace) -> bool:
        # What is quiet is confirmed by bookmarks alone, once a minute.
        for each in changed:
            now = str(time.monotonic())
            each.annotate("service", "greeter", "example.com/now", now)
            each.annotate("slice", "greeter-1", "example.com/now", now)
        time.sleep(0.5)
        return bool(balancer.log(event))

    with Balancer(account.kubeconfig, tmp_path, *flags) as balancer:
        balancer.wait_ready()
        assert balancer.readiness() == (200, "ok\n")
        control_plane.admin.delete(bind)
        control_plane.restart_apiserver()
        balancer.process.wait_until(partial(said, "namespace lost", namespace), 60)
        status, text = balancer.readiness()
        assert (status, text.splitlines()[0]) == (200, "ok")
        [line] = text.splitlines()[1:]
        assert f"what is known of namespace {other.name} is old" in line
        assert f"a Role in namespace '{other.name}' needs the rule" in line
        assert balancer.get(mine).state == pb.STATE_PRESENT
        assert balancer.get(theirs).state == pb.STATE_STALE
        assert served(balancer.get(theirs)) == at_port("10.1.0.1")
        code, text = balancer.refusal(f"none.{other.name}")
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "forbidden" in text
        assert balancer.refusal(f"none.{namespace.name}")[0] is grpc.StatusCode.NOT_FOUND
        assert balancer.metric("lookaside_source_stale") == 0

        other.bind("reader", LEAST_RIGHTS, f"system:serviceaccount:{namespace.name}:reader")
        balancer.process.wait_until(partial(said, "namespace recovered", namespace, other), 90)
        assert balancer.get(theirs).state == pb.STATE_PRESENT
        assert balancer.readiness() == (200, "ok\n")
    other.delete()


def _refusals(balancer: Balancer) -> float:
    if balancer.readiness()[0] == 0:
        return 0
    return balancer.metric("lookaside_source_errors_total", reason="forbidden")


def _health(balancer: Balancer) -> int:
    with grpc.insecure_channel(balancer.address) as channel:
        request = health_pb2.HealthCheckRequest(service="lookaside.LoadBalancer")
        answer: health_pb2.HealthCheckResponse = HealthStub(channel).Check(request, timeout=10)
        return answer.status
