"""Slices that are left out, slices of other controllers, and very many of them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc

from lookaside._pb import lookaside_pb2 as pb
from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, body, catch_up, endpoint
from tests.cluster.objects import Namespace
from tests.cluster.watches import Watch

MANY: Final = 200
EACH: Final = 5
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
IMPORTED: Final = "multicluster.kubernetes.io/service-name"


def test_a_slice_of_names_is_set_aside_and_that_is_explained(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    names = [endpoint("backend.example.com")]
    namespace.slice("greeter-names", "greeter", body(names, addressType="FQDN"))
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert served(balancer.get(name)) == at_port("192.0.2.1")
    reasons = {each.slice: each.reason for each in balancer.explain(name).endpoints}
    assert reasons["greeter-names"] == "its slice is of the deprecated type FQDN"
    told = balancer.command("explain", name)
    assert told.returncode == 0, told.stderr
    [row] = [line for line in told.stdout.splitlines() if "backend.example.com" in line]
    assert "its slice is of the deprecated type FQDN" in row


def test_a_service_of_very_many_slices_has_all_their_endpoints(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    name = f"greeter.{namespace.name}"

    def addresses(number: int) -> list[str]:
        return [f"10.246.{number}.{host}" for host in range(EACH)]

    def add(number: int) -> None:
        namespace.slice(f"greeter-{number}", "greeter", body(addresses(number)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(MANY)))
    every = at_port(*(each for number in range(MANY) for each in addresses(number)))
    assert len(every) == MANY * EACH
    with Watch(balancer, name) as watch:
        watch.wait(lambda message: served(message) == every)
        namespace.set_endpoints("greeter-7", [endpoint(each) for each in addresses(7)[1:]])
        every.remove("10.246.7.0:50051")
        watch.wait(lambda message: served(message) == every)
        namespace.delete_slice("greeter-8")
        left = [each for each in every if not each.startswith("10.246.8.")]
        watch.wait(lambda message: served(message) == left)
    listed = balancer.command("get", name).stdout.splitlines()
    assert len(listed) == 1 + MANY * EACH - 1 - EACH


def test_an_imported_slice_of_another_cluster_is_no_services_own(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    labels = {IMPORTED: "greeter", MANAGED_BY: "mcs.example.com"}
    namespace.slice("imported-1", "", body(["192.0.2.9"]), labels=labels)
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert balancer.get(name).state == pb.STATE_EMPTY
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    balancer.wait_for(name, *at_port("192.0.2.1"))
    assert [each.slice for each in balancer.explain(name).endpoints] == ["greeter-1"]


def test_a_copy_of_a_slice_by_another_controller_is_counted_once(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    addresses = ["192.0.2.1", "192.0.2.2"]
    namespace.slice("greeter-1", "greeter", body(addresses))
    labels = {IMPORTED: "greeter", MANAGED_BY: "mcs.example.com"}
    namespace.slice("imported-1", "greeter", body(addresses), labels=labels)
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    with Watch(balancer, name) as watch:
        watch.wait(lambda message: served(message) == at_port(*addresses))
        # When the own one goes, the copy stands for it: there is no list without them.
        namespace.delete_slice("greeter-1")
        namespace.set_endpoints("imported-1", [endpoint("192.0.2.1")])
        messages = watch.wait(lambda message: served(message) == at_port("192.0.2.1"))
    assert len(messages) == 2


def test_null_lists_are_legal(balancer: Balancer, namespace: Namespace) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", {"endpoints": None, "ports": None})
    namespace.slice("greeter-2", "greeter", {**body(["192.0.2.1"]), "ports": None})
    namespace.slice("greeter-3", "greeter", body(["192.0.2.2"]))
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert served(balancer.get(name)) == at_port("192.0.2.2")
    told = {each.slice: (each.address, each.reason) for each in balancer.explain(name).endpoints}
    assert told["greeter-2"] == ("192.0.2.1", "its slice has no port named 'grpc'")


def test_a_port_of_another_protocol_is_left_out(balancer: Balancer, namespace: Namespace) -> None:
    namespace.service("greeter", selector={})
    ports = [{"name": "grpc", "port": 50051, "protocol": "UDP"}]
    namespace.slice("greeter-1", "greeter", {**body(["192.0.2.1"]), "ports": ports})
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert balancer.get(name).state == pb.STATE_EMPTY
    assert any("UDP" in note for note in balancer.explain(name).notes)


def test_slices_of_a_service_that_is_not_there_make_none(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert balancer.refusal(name)[0] is grpc.StatusCode.NOT_FOUND
    namespace.service("greeter", selector={})
    balancer.wait_for(name, *at_port("192.0.2.1"))
