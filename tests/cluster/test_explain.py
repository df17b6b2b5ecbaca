"""`lookaside explain`: why a Pod gets no traffic, and why a list is empty."""

import json
from collections.abc import Callable
from typing import Any

from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, catch_up
from tests.cluster.objects import Namespace

PodAddress = Callable[[], str]


def test_explain_tells_of_each_pod_why_it_gets_no_traffic(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    addresses = [pod_address() for _ in range(4)]
    for number, address in enumerate(addresses):
        namespace.pod(f"greeter-{number}", address, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port(*addresses))
    namespace.set_ready("greeter-1", False)
    namespace.terminate_pod("greeter-2")
    namespace.terminate_pod("greeter-3")
    namespace.set_ready("greeter-3", False)
    balancer.wait_for(name, *at_port(addresses[0]))
    gone = "terminating and no longer serving"
    _settle(balancer, namespace, lambda told: told["greeter-3"] == gone)

    told = balancer.command("explain", name)
    assert told.returncode == 0, told.stderr
    heading, _, table = told.stdout.partition("\n\n")
    assert heading.splitlines()[0].split() == ["Service", f"{name}:grpc"]
    assert "1 of 4 endpoints listed" in heading
    rows = [line.split("\t") for line in table.splitlines()[1:]]
    assert {row[4]: (row[0], row[1], row[3]) for row in rows} == {
        "Pod greeter-0": (f"{addresses[0]}:50051", "yes", "ready"),
        "Pod greeter-1": (f"{addresses[1]}:50051", "no", "not ready"),
        "Pod greeter-2": (f"{addresses[2]}:50051", "no", "terminating, and others are ready"),
        "Pod greeter-3": (f"{addresses[3]}:50051", "no", gone),
    }
    # What gets no traffic stands first.
    assert rows[-1][4] == "Pod greeter-0"


def test_explain_names_the_slice_its_version_and_where_the_weight_is_from(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port(address))
    [made] = namespace.wait_for_ready("greeter", [address])
    catch_up(balancer, namespace)
    told = balancer.command("explain", name, "-o", "json")
    assert told.returncode == 0, told.stderr
    [only] = json.loads(told.stdout)["endpoints"]
    assert only["slice"] == made["metadata"]["name"]
    assert only["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert (only["weight"], only["weightOrigin"]) == (100, "default")
    assert only["locality"]["node"] == "node-a"


def test_explain_tells_that_the_last_pods_terminate(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port(address))
    namespace.terminate_pod("greeter-0")
    reason = "terminating, serving, and no other is ready"
    _settle(balancer, namespace, lambda told: told["greeter-0"] == reason)
    assert served(balancer.get(name)) == at_port(address)


def test_explain_tells_why_a_list_is_empty(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    name = f"greeter.{namespace.name}"
    namespace.service("greeter", selector={})
    catch_up(balancer, namespace)
    told = balancer.command("explain", name)
    assert told.returncode == 0, told.stderr
    assert "empty; no endpoints" in told.stdout
    assert "has no EndpointSlices" in told.stdout

    namespace.service("second")
    namespace.wait_for_slices("second", lambda found: len(found) == 1)
    catch_up(balancer, namespace)
    told = balancer.command("explain", f"second.{namespace.name}")
    assert "no Pod matches the Service's selector" in told.stdout

    namespace.pod("second-0", pod_address(), app="second", ready=False)
    namespace.wait_for_slices("second", lambda found: bool(found[0]["endpoints"]))
    catch_up(balancer, namespace)
    told = balancer.command("explain", f"second.{namespace.name}")
    assert told.returncode == 0
    assert "empty; 0 of 1 endpoint listed" in told.stdout
    assert "None of its 1 endpoints is fit to get requests." in told.stdout
    assert "not ready" in told.stdout


def test_explain_tells_of_a_service_without_ports(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter", [], clusterIP="None")
    namespace.pod("greeter-0", address := pod_address(), app="greeter")
    namespace.wait_for_ready("greeter", [address])
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert served(balancer.get(name)) == []
    told = balancer.command("explain", name)
    assert told.returncode == 0, told.stderr
    assert "The Service has no ports: nothing can be dialled." in told.stdout
    assert "the Service has no ports" in told.stdout.splitlines()[-1]


def test_explain_tells_of_an_alias(balancer: Balancer, namespace: Namespace) -> None:
    namespace.service("alias", selector={}, type="ExternalName", externalName="greeter.example.com")
    catch_up(balancer, namespace)
    told = balancer.command("explain", f"alias.{namespace.name}")
    assert told.returncode == 0, told.stderr
    assert "alias of greeter.example.com: dial that by DNS" in told.stdout


def test_explain_fails_with_an_exit_code_that_says_how(
    balancer: Balancer, namespace: Namespace
) -> None:
    unknown = balancer.command("explain", f"nobody.{namespace.name}")
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert f"nobody.{namespace.name}" in unknown.stderr
    namespace.service("greeter")
    catch_up(balancer, namespace)
    assert balancer.command("explain", f"greeter.{namespace.name}:nope").returncode == 2
    name = f"greeter.{namespace.name}"
    assert balancer.command("explain", name, "--address", "127.0.0.1:1").returncode == 4


def _settle(
    balancer: Balancer, namespace: Namespace, holds: Callable[[dict[str, str]], bool]
) -> None:
    """Wait until the reasons, by Pod, are as a test wants them: they may change, and no list."""
    name = f"greeter.{namespace.name}"

    def told() -> dict[str, Any]:
        found = balancer.explain(name).endpoints
        return {each.target.removeprefix("Pod "): each.reason for each in found}

    balancer.process.wait_until(lambda: holds(told()), timeout=30)
