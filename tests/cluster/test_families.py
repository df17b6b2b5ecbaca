"""Pods with an address in each family: one backend each, of the family that a setting names."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.accounts import Account
from tests.cluster.api import Object
from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, body, catch_up, endpoint
from tests.cluster.objects import Namespace, ready_addresses
from tests.cluster.watches import Watch

PodAddress = Callable[[], str]

_DUAL: Final[dict[str, Any]] = {
    "ipFamilyPolicy": "RequireDualStack",
    "ipFamilies": ["IPv4", "IPv6"],
}


@pytest.fixture
def ipv6_balancer(account: Account, tmp_path: Path) -> Iterator[Balancer]:
    """The service, told to list the IPv6 addresses; in place of the other."""
    with Balancer(account.kubeconfig, tmp_path, "--address-family", "IPv6") as running:
        running.wait_ready()
        yield running


@pytest.fixture
def balancer(account: Account, tmp_path: Path) -> Iterator[Balancer]:
    """The service as it is by default."""
    with Balancer(account.kubeconfig, tmp_path) as running:
        running.wait_ready()
        yield running


def test_a_pod_with_two_addresses_is_listed_once_by_that_of_ipv4(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    addresses = [pod_address(), pod_address()]
    _add(namespace, *addresses)
    name = f"greeter.{namespace.name}"
    _settle(balancer, namespace)
    assert served(balancer.get(name)) == at_port(*addresses)
    told = {each.address: (each.listed, each.reason) for each in balancer.explain(name).endpoints}
    assert told["[fd00:10:244::1]:50051"] == (False, "the same Pod is listed by IPv4")
    with Watch(balancer, name) as watch:
        namespace.set_ready("greeter-0", False)
        watch.wait(lambda message: served(message) == at_port(addresses[1]))


def test_a_pod_with_two_addresses_is_listed_by_that_of_ipv6_where_that_is_set(
    ipv6_balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    _add(namespace, pod_address(), pod_address())
    namespace.pod("greeter-2", only := pod_address(), app="greeter")
    name = f"greeter.{namespace.name}"
    # A Pod with one address is listed by that.
    wanted = [f"{only}:50051", "[fd00:10:244::1]:50051", "[fd00:10:244::2]:50051"]
    message = ipv6_balancer.wait(name, lambda message: sorted(served(message)) == sorted(wanted))
    assert {each.metadata["pod"] for each in message.servers} == {
        *("greeter-0", "greeter-1", "greeter-2"),
    }


def test_a_service_of_one_family_has_the_addresses_of_that_family_alone(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter", ipFamilyPolicy="SingleStack", ipFamilies=["IPv6"])
    namespace.pod("greeter-0", pod_address(), app="greeter", second_address="fd00:10:244::1")
    balancer.wait_for(f"greeter.{namespace.name}", "[fd00:10:244::1]:50051")


def test_slices_of_both_families_are_paired_by_the_uid_of_their_targets(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={}, **_DUAL)
    fours = [endpoint("192.0.2.1", uid="pod-1"), endpoint("192.0.2.2", uid="pod-2")]
    sixes = [endpoint("2001:db8::1", uid="pod-1"), endpoint("2001:db8::3", uid="pod-3")]
    namespace.slice("greeter-6", "greeter", body(sixes, addressType="IPv6"))
    namespace.slice("greeter-4", "greeter", body(fours))
    catch_up(balancer, namespace)
    wanted = [*at_port("192.0.2.1", "192.0.2.2"), "[2001:db8::3]:50051"]
    assert served(balancer.get(f"greeter.{namespace.name}")) == wanted


def test_slices_of_both_families_without_targets_are_all_listed(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={}, **_DUAL)
    namespace.slice("greeter-4", "greeter", body(["192.0.2.1"]))
    namespace.slice("greeter-6", "greeter", body(["2001:db8::1"], addressType="IPv6"))
    catch_up(balancer, namespace)
    wanted = [*at_port("192.0.2.1"), "[2001:db8::1]:50051"]
    assert served(balancer.get(f"greeter.{namespace.name}")) == wanted


def _add(namespace: Namespace, *addresses: str) -> None:
    """Make the Service `greeter` of both families, and its Pods."""
    namespace.service("greeter", **_DUAL)
    for number, address in enumerate(addresses):
        second = f"fd00:10:244::{number + 1}"
        namespace.pod(f"greeter-{number}", address, app="greeter", second_address=second)


def _settle(balancer: Balancer, namespace: Namespace) -> None:
    """Wait until the controller has made the slices of both families, and the service knows."""

    def holds(slices: list[Object]) -> bool:
        counts = {item["addressType"]: len(item.get("endpoints") or []) for item in slices}
        return counts == {"IPv4": 2, "IPv6": 2} and len(ready_addresses(slices)) == 4

    namespace.wait_for_slices("greeter", holds)
    catch_up(balancer, namespace)
