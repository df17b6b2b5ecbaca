"""Large lists made small: what has changed alone, nothing where nothing has, and subsets."""

import json
from collections.abc import Callable

from lookaside._pb import lookaside_pb2 as pb
from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, body, catch_up, endpoint
from tests.cluster.objects import Namespace
from tests.cluster.watches import Message, Watch

PodAddress = Callable[[], str]

SIZE = 5


def test_a_client_that_takes_deltas_is_told_of_the_pods_that_changed(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    addresses = [pod_address() for _ in range(4)]
    for number, address in enumerate(addresses[:3]):
        namespace.pod(f"greeter-{number}", address, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port(*addresses[:3]))

    with Watch(balancer, name, deltas=True) as watch, Watch(balancer, name) as whole:
        [first] = watch.wait(lambda message: len(message.servers) == 3)
        assert not first.HasField("delta"), "the first list is whole"

        namespace.pod("greeter-3", addresses[3], app="greeter")
        whole.wait(lambda message: len(message.servers) == 4)
        added = _next(watch, first)
        assert served(added) == at_port(addresses[3])
        assert list(added.delta.removed) == []
        assert added.state == pb.STATE_PRESENT
        assert added.service == first.service

        namespace.delete_pod("greeter-0")
        whole.wait(lambda message: len(message.servers) == 3)
        removed = _next(watch, added)
        assert served(removed) == []
        assert list(removed.delta.removed) == at_port(addresses[0])
        assert removed.state == pb.STATE_PRESENT

        # What the changes lead to is what the others have whole.
        last = whole.messages[-1]
    assert last.revision.digest == removed.revision.digest
    assert not any(message.HasField("delta") for message in whole.messages)


def test_a_delta_does_not_grow_with_the_list(balancer: Balancer, namespace: Namespace) -> None:
    name, sizes = f"greeter.{namespace.name}", []
    namespace.service("greeter", selector={})
    for count in (10, 250):
        rest = [f"10.247.{count}.{host}" for host in range(count)]
        namespace.slice(f"greeter-{count}", "greeter", body(rest))
        namespace.slice("greeter-own", "greeter", body(["192.0.2.1"]))
        catch_up(balancer, namespace)
        with Watch(balancer, name, deltas=True) as watch:
            [first] = watch.wait(lambda message: not message.HasField("delta"))
            changed = endpoint("192.0.2.1", zone="zone-a")
            namespace.set_endpoints("greeter-own", [changed])
            sizes.append(_next(watch, first).ByteSize())
        namespace.delete_slice("greeter-own")
    assert abs(sizes[0] - sizes[1]) < 16, sizes


def test_a_watch_that_knows_the_list_is_sent_nothing_before_the_next_change(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    addresses = [pod_address() for _ in range(2)]
    namespace.pod("greeter-0", addresses[0], app="greeter")
    name = f"greeter.{namespace.name}"
    known = balancer.wait_for(name, *at_port(addresses[0])).revision

    _wait_for_watchers(balancer, 0)
    with (
        Watch(balancer, name, known=known, deltas=True) as resumed,
        Watch(balancer, name, known=known) as whole,
        Watch(balancer, name, known=pb.Revision(digest="unknown"), deltas=True) as stranger,
    ):
        _wait_for_watchers(balancer, 3)
        # An unknown revision is answered with a whole list.
        [told] = stranger.wait(lambda message: served(message) == at_port(addresses[0]))
        assert not told.HasField("delta")
        assert told.revision.digest == known.digest
        namespace.pod("greeter-1", addresses[1], app="greeter")
        [change] = resumed.wait(lambda message: bool(message.servers))
        assert served(change) == at_port(addresses[1])
        assert change.delta.base == known.digest
        # The first message ever of the other one is that change too, whole.
        [list_] = whole.wait(lambda message: bool(message.servers))
        assert served(list_) == at_port(*addresses)
        assert list_.revision.digest == change.revision.digest


def test_a_watch_that_knows_an_old_list_is_sent_the_new_one_whole(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    name = f"greeter.{namespace.name}"
    old = balancer.wait_for(name, *at_port("192.0.2.1"))
    namespace.set_endpoints("greeter-1", [endpoint("192.0.2.1"), endpoint("192.0.2.2")])
    new = balancer.wait_for(name, *at_port("192.0.2.1", "192.0.2.2"))
    with Watch(balancer, name, known=old.revision, deltas=True) as watch:
        [message] = watch.wait(lambda message: bool(message.servers))
    assert not message.HasField("delta")
    assert message.revision.digest == new.revision.digest
    assert served(message) == served(new)


def test_each_client_has_a_subset_of_its_own_that_stays(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    every = [f"192.0.2.{number}" for number in range(1, 41)]
    namespace.slice("greeter-1", "greeter", body(every))
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port(*every))
    first, second = (_subset(balancer, name, client) for client in ("client-1", "client-2"))
    assert len(first) == len(second) == SIZE
    assert first != second
    assert _subset(balancer, name, "client-1") == first
    shown = balancer.command(
        *("get", name, "--client-id", "client-2", "--subset-size", str(SIZE), "-o", "json")
    )
    assert [server["address"] for server in json.loads(shown.stdout)["servers"]] == second

    # One of the first's goes: one other comes for it, and the rest stays.
    lost = next(address for address in first if address not in second)
    left = [address for address in every if not lost.startswith(f"{address}:")]
    request = {"client": pb.Client(id="client-1"), "subset_size": SIZE, "deltas": True}
    with Watch(balancer, name, **request) as watch:
        [whole] = watch.wait(lambda message: served(message) == first)
        namespace.set_endpoints("greeter-1", [endpoint(address) for address in left])
        change = _next(watch, whole)
        assert list(change.delta.removed) == [lost]
        assert len(change.servers) == 1
    now = _subset(balancer, name, "client-1")
    assert set(first) - set(now) == {lost}
    assert _subset(balancer, name, "client-2") == second


def _next(watch: Watch, last: Message) -> Message:
    """Wait for the message after `last`, a delta to it."""
    base = last.revision.digest
    return watch.wait(lambda message: message.delta.base == base)[-1]


def _wait_for_watchers(balancer: Balancer, count: int) -> None:
    balancer.process.wait_until(lambda: balancer.metric("lookaside_watchers") == count, 30)


def _subset(balancer: Balancer, service: str, client: str) -> list[str]:
    return served(balancer.get(service, client=pb.Client(id=client), subset_size=SIZE))
