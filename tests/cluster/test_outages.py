"""No call fails while the API server or the service is away, and what changes then is seen."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.cluster.accounts import Account
from tests.cluster.balancer import HOST, Balancer, served
from tests.cluster.figures import record
from tests.cluster.greeters import Greeters
from tests.cluster.handmade import at_port, body, endpoint
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import Namespace
from tests.cluster.traffic import Clients, calling

CALLS_DURING = 500
OUTAGES = 6
AWAY = 3.0
BETWEEN = 6.0
PROMPT = 10.0
OTHER = f"{HOST}:50152"
KILL = pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])


@pytest.fixture
def balancer(account: Account, tmp_path: Path) -> Iterator[Balancer]:
    """The service, for one test: a later test need not wait for this one's backoff."""
    with Balancer(account.kubeconfig, tmp_path) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def service(balancer: Balancer, namespace: Namespace, greeters: Greeters) -> str:
    """The name of a Service of two greeters that the balancer knows."""
    namespace.service("greeter")
    greeters.add(2)
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *greeters.targets)
    return name


@KILL
def test_none_fails_while_the_api_server_is_away(
    control_plane: ControlPlane, balancer: Balancer, service: str, greeters: Greeters, kill: bool
) -> None:
    with calling(balancer.address, service, f"API server away, kill={kill}") as clients:
        clients.settle(greeters.targets)
        control_plane.stop_apiserver(kill=kill)
        try:
            balancer.process.wait_until(lambda: len(balancer.log("interrupted")) >= 2, timeout=30)
            clients.next(CALLS_DURING)
            # What was known is still served, to newcomers too.
            assert set(served(balancer.get(service))) == greeters.targets
            assert balancer.readiness()[0] == 200
        finally:
            control_plane.start_apiserver()
            control_plane.restart_controllers()
        _change(greeters, clients)


def test_none_fails_while_the_api_server_hangs(
    control_plane: ControlPlane, balancer: Balancer, service: str, greeters: Greeters
) -> None:
    with calling(balancer.address, service, "API server hangs") as clients:
        clients.settle(greeters.targets)
        control_plane.pause_apiserver()
        try:
            clients.next(CALLS_DURING)
        finally:
            control_plane.resume_apiserver()
        _change(greeters, clients)


@KILL
def test_none_fails_while_the_service_is_away(
    balancer: Balancer, service: str, greeters: Greeters, kill: bool
) -> None:
    with (
        calling(balancer.address, service, f"service away, kill={kill}") as clients,
        balancer.watching(service) as watch,
    ):
        clients.settle(greeters.targets)
        watch.wait_for_documents(lambda seen: len(seen[-1]["servers"]) == 2)
        if kill:
            balancer.process.kill()
        else:
            balancer.process.signal(signal.SIGTERM)
            assert balancer.process.wait(timeout=10) == 0
        clients.next(CALLS_DURING)
        [new] = greeters.add(1)
        balancer.start()
        back = time.monotonic()
        took = clients.reach(new.target) - back
        record(f"from the service's return to its news at all clients: {took:.1f} s")
        clients.settle(greeters.targets)
        watch.wait_for_documents(lambda seen: len(seen[-1]["servers"]) == 3)
        _change(greeters, clients)


def test_none_fails_while_both_are_away(
    control_plane: ControlPlane, balancer: Balancer, service: str, greeters: Greeters
) -> None:
    with calling(balancer.address, service, "API server and service away") as clients:
        clients.settle(greeters.targets)
        control_plane.stop_apiserver(kill=True)
        try:
            balancer.process.kill()
            balancer.process.start()
            balancer.process.wait_until(lambda: balancer.readiness()[0] == 503, timeout=30)
            # A service that knows nothing says so, and takes nothing from its clients.
            assert balancer.refusal(service)[0] is grpc.StatusCode.UNAVAILABLE
            clients.next(CALLS_DURING)
        finally:
            control_plane.start_apiserver()
            control_plane.restart_controllers()
        balancer.wait_ready()
        _change(greeters, clients)


def test_a_replica_that_ran_through_outages_is_as_prompt_as_a_fresh_one(
    control_plane: ControlPlane,
    account: Account,
    balancer: Balancer,
    namespace: Namespace,
    tmp_path: Path,
) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["10.1.0.1"]))
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port("10.1.0.1"))
    ran: list[float] = []
    fresh: list[float] = []
    for number in range(2, 2 + OUTAGES):
        control_plane.stop_apiserver(kill=True)
        time.sleep(AWAY)
        control_plane.start_apiserver()
        back = time.monotonic()
        address = f"10.1.0.{number}"
        namespace.set_endpoints("greeter-1", [endpoint(address)])
        folder = tmp_path / address
        folder.mkdir()
        with Balancer(account.kubeconfig, folder, "--listen", OTHER, "--admin", "off") as other:
            other.address = OTHER
            waiting = [(balancer, ran), (other, fresh)]
            while waiting:
                for replica, took in list(waiting):
                    if _lists(replica, name, address):
                        took.append(time.monotonic() - back)
                        waiting.remove((replica, took))
                assert time.monotonic() < back + PROMPT, balancer.process.tail()
                time.sleep(0.02)
        time.sleep(max(back + BETWEEN - time.monotonic(), 0))
    control_plane.restart_controllers()
    record(
        f"{OUTAGES} outages of {AWAY} s, {BETWEEN} s apart: from the API server's return to a "
        f"change at the replica that ran {' '.join(f'{each:.1f}' for each in ran)} s, at a fresh "
        f"one {' '.join(f'{each:.1f}' for each in fresh)} s"
    )


def _lists(balancer: Balancer, service: str, address: str) -> bool:
    try:
        return served(balancer.get(service)) == at_port(address)
    except grpc.RpcError:
        return False


def _change(greeters: Greeters, clients: Clients) -> None:
    """Add a Pod and take one away, and see that the clients follow."""
    [new] = greeters.launch(1)
    began = time.monotonic()
    greeters.announce([new])
    took = clients.reach(new.target) - began
    record(f"from creating a Pod after it to its first answers: {took:.1f} s")
    clients.settle(greeters.targets)
    leaving = greeters.running[0]
    greeters.terminate(leaving)
    clients.settle(greeters.targets - {leaving.target})
    greeters.end(leaving)
