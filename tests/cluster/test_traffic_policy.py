"""A Service whose traffic stays on the node, and one whose clients stay with an endpoint."""

import json
from collections.abc import Callable

from lookaside._pb import lookaside_pb2 as pb
from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, catch_up
from tests.cluster.objects import Namespace
from tests.cluster.watches import Watch

PodAddress = Callable[[], str]


def test_with_a_local_policy_a_client_gets_the_endpoints_of_its_node_alone(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter", internalTrafficPolicy="Local")
    addresses = [pod_address() for _ in range(3)]
    for number, address in enumerate(addresses):
        node = f"local-{number // 2}"
        namespace.pod(f"greeter-{number}", address, app="greeter", node=node)
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port(*addresses))
    assert served(balancer.get(name, client=pb.Client(node="local-0"))) == at_port(*addresses[:2])
    assert served(balancer.get(name, client=pb.Client(node="local-1"))) == at_port(addresses[2])
    assert served(balancer.get(name, client=pb.Client(node="local-2"))) == []
    assert served(balancer.get(name, client=pb.Client(zone="a"))) == at_port(*addresses)
    told = balancer.command("explain", name)
    assert "internalTrafficPolicy is Local, and the client names no node" in told.stdout
    told = balancer.command("explain", name, "--node", "local-1")
    assert told.stdout.count("is on node local-0; the client is on local-1") == 2

    # The fallback is judged among the node's own: those of other nodes are ready.
    with Watch(balancer, name, client=pb.Client(node="local-1")) as watch:
        watch.wait(lambda message: served(message) == at_port(addresses[2]))
        namespace.terminate_pod("greeter-2")
        namespace.wait_for_ready("greeter", addresses[:2])
        catch_up(balancer, namespace)
        assert served(balancer.get(name, client=pb.Client(node="local-1"))) == at_port(addresses[2])
        namespace.set_ready("greeter-2", False)
        watch.wait(lambda message: not message.servers)


def test_session_affinity_is_a_policy_that_stays_with_one_endpoint(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", sessionAffinity="ClientIP")
    catch_up(balancer, namespace)
    config = json.loads(balancer.get(f"greeter.{namespace.name}").service_config)
    assert config == {"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}]}
