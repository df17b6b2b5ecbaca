"""Two replicas that were told the same, in other orders, say the same, to the byte."""

from collections.abc import Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from lookaside.model import ServiceName
from lookaside.policy.topology import Place
from lookaside.policy.view import View
from lookaside.registry.cluster import Cluster
from lookaside.registry.inputs import MergeOptions
from tests.registry import kubeproxy
from tests.registry.conftest import a_store
from tests.registry.histories import Item, clients, items, put, take
from tests.registry.kubeproxy import Client

Event = tuple[Item, bool]
"""An object, and whether it is there or gone."""

events = st.lists(st.tuples(items, st.sampled_from((True, True, True, False))), max_size=25)
everybody = settings(max_examples=150)


class Replica:
    """A cluster's index and a store, which publishes after every so many events."""

    def __init__(self, large: int) -> None:
        self._cluster = Cluster(MergeOptions(labels=("team", "v")), pods=True, large=large)
        self._store = a_store()

    def follow(self, events: Iterable[Event], publish: Random) -> None:
        for item, there in events:
            (put if there else take)(self._cluster, item)
            if publish.random() < 0.5:
                self._publish(version=publish.randrange(2, 99))

    def answers(self, client: Client) -> list[bytes]:
        self._publish(version=100)
        self._store.feeds["source"].advance(100)
        view = View(Place(client.zone, client.node), subset=2, client="someone")
        return [
            self._store.get(ServiceName(record.key, port.name), shown).whole()
            for record in sorted(
                self._store.feeds["source"].records.values(), key=lambda record: record.key
            )
            if not record.external_name
            for port in record.ports
            if port.name or len(record.ports) == 1
            for shown in (View(), View(view.place), view)
        ]

    def _publish(self, version: int) -> None:
        self._store.feeds["source"].update(self._cluster.touched(), version=version, at=0)


def interleaved(events: list[Event], chance: Random) -> list[Event]:
    """Return the events in another order, in which those of one object keep theirs."""
    queues: dict[tuple[type, str, str], list[Event]] = {}
    for item, there in events:
        queues.setdefault((type(item), item.namespace, item.name), []).append((item, there))
    order = []
    while queues:
        key = chance.choice(list(queues))
        order.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
    return order


def remaining(events: list[Event]) -> list[Event]:
    """Return the objects that are there at the end."""
    model = kubeproxy.Cluster()
    for item, there in events:
        (model.set if there else model.remove)(item)
    held: list[Item] = [*model.services.values(), *model.slices.values(), *model.pods.values()]
    return [(item, True) for item in held]


def has_bad_annotations(item: Item) -> bool:
    annotations = [item.weights, item.config] if isinstance(item, kubeproxy.Service) else []
    annotations += [] if isinstance(item, kubeproxy.Service) else [item.weight]
    return any(one.text and one.meaning is None for one in annotations)


@everybody
@given(events=events, client=clients, chance=st.randoms(use_true_random=False))
def test_the_order_of_events_of_different_objects_does_not_matter(
    events: list[Event], client: Client, chance: Random
) -> None:
    one, other = Replica(large=0), Replica(large=1000)
    one.follow(events, chance)
    other.follow(interleaved(events, chance), chance)
    assert one.answers(client) == other.answers(client)


@everybody
@given(events=events, client=clients, chance=st.randoms(use_true_random=False))
def test_a_replica_that_came_late_says_the_same_unless_an_annotation_is_bad(
    events: list[Event], client: Client, chance: Random
) -> None:
    """The last good value of an annotation that is bad now is known to those alone who saw it."""
    events = [(item, there) for item, there in events if not has_bad_annotations(item)]
    early, late = Replica(large=0), Replica(large=1000)
    early.follow(events, chance)
    late.follow(interleaved(remaining(events), chance), chance)
    assert early.answers(client) == late.answers(client)
