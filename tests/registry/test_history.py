"""Random histories of a cluster, held against a plain model after every event."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lookaside.model import Endpoint, Health, ServiceName
from lookaside.policy.topology import Place
from lookaside.policy.view import View
from lookaside.registry.cluster import Cluster
from lookaside.registry.inputs import Family, MergeOptions
from tests.registry import kubeproxy
from tests.registry.conftest import a_store
from tests.registry.histories import (
    Item,
    as_pod,
    as_service,
    as_slice,
    key_of,
    pods,
    put,
    services,
    slices,
    take,
)
from tests.registry.kubeproxy import Backend, Client, Pod, Service, Slice

CLIENTS = (Client(), Client("a"), Client("a", "n1"), Client("b", "n3"), Client("c", "n2"))
zone_hints = st.sampled_from((("a",), ("b",), ("a", "b")))
node_hints = st.sampled_from((("n1",), ("n2",)))
families: st.SearchStrategy[Family] = st.sampled_from(("IPv4", "IPv6"))


def told(endpoint: Endpoint) -> Backend:
    return Backend(
        endpoint.address,
        endpoint.port,
        endpoint.weight,
        endpoint.health is Health.TERMINATING,
        endpoint.locality.zone,
        endpoint.locality.node,
        endpoint.metadata,
    )


class Histories(RuleBasedStateMachine):
    """A cluster whose objects come, change and go; its registry is compared after every event."""

    @initialize(
        family=families,
        labels=st.sampled_from(((), ("v",), ("team", "v"))),
        large=st.sampled_from((0, 3, 1000)),
        items=st.tuples(slices(), slices(), services),
    )
    def begin(
        self, family: Family, labels: tuple[str, ...], large: int, items: tuple[Item, ...]
    ) -> None:
        self.model = kubeproxy.Cluster(family, labels)
        self.cluster = Cluster(MergeOptions(family, labels), pods=True, large=large)
        self.store = a_store()
        self.versions = 1
        for item in items:
            self._set(item)

    @rule(item=slices())
    def set_a_slice(self, item: Slice) -> None:
        self._set(item)

    @rule(item=services)
    def set_a_service(self, item: Service) -> None:
        self._set(item)

    @rule(item=pods, data=st.data())
    def set_a_pod_that_stands_in_a_slice(self, item: Pod, data: st.DataObject) -> None:
        names = {
            (one.namespace, endpoint.pod)
            for one in self.model.slices.values()
            for endpoint in one.endpoints
            if endpoint.pod
        }
        if names:
            namespace, name = data.draw(st.sampled_from(sorted(names)))
            item = replace(item, namespace=namespace, name=name)
        self._set(item)

    @rule(data=st.data(), service=st.sampled_from(("greeter", "other")))
    @precondition(lambda self: self.model.slices)
    def give_a_slice_to_a_service(self, data: st.DataObject, service: str) -> None:
        one = data.draw(st.sampled_from(list(self.model.slices.values())))
        self._set(replace(one, service=service))

    @rule(data=st.data())
    @precondition(lambda self: self._all())
    def remove(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self._all()))
        self.model.remove(item)
        take(self.cluster, item)

    @rule(data=st.data())
    @precondition(lambda self: any(one.endpoints for one in self.model.slices.values()))
    def move_a_pod_to_another_slice(self, data: st.DataObject) -> None:
        held = list(self.model.slices.values())
        giver = data.draw(st.sampled_from([one for one in held if one.endpoints]))
        taker = data.draw(st.sampled_from([one for one in held if one.family == giver.family]))
        endpoint = data.draw(st.sampled_from(giver.endpoints))
        added = replace(taker, endpoints=(*taker.endpoints, endpoint))
        rest = tuple(one for one in giver.endpoints if one is not endpoint)
        if taker is giver:
            self._set(added)
            return
        steps = [added, replace(giver, endpoints=rest)]
        for step in data.draw(st.permutations(steps)):
            self._set(step)
            self.agrees()

    @rule(data=st.data(), name=st.sampled_from(("s1", "s2", "s3", "s4", "s5")))
    @precondition(lambda self: any(len(one.endpoints) > 1 for one in self.model.slices.values()))
    def split_a_slice(self, data: st.DataObject, name: str) -> None:
        held = [one for one in self.model.slices.values() if len(one.endpoints) > 1]
        one = data.draw(st.sampled_from(held))
        half = len(one.endpoints) // 2
        self._set(replace(one, name=name, endpoints=one.endpoints[half:]))
        self.agrees()
        if name != one.name:
            self._set(replace(one, endpoints=one.endpoints[:half]))

    @rule(data=st.data())
    @precondition(lambda self: len(self.model.slices) > 1)
    def merge_two_slices(self, data: st.DataObject) -> None:
        one, other = data.draw(st.permutations(list(self.model.slices.values())))[:2]
        if one.family == other.family:
            self._set(replace(one, endpoints=(*one.endpoints, *other.endpoints)))
            self.agrees()
        self.model.remove(other)
        take(self.cluster, other)

    @rule(data=st.data(), condition=st.sampled_from((None, True, False)))
    @precondition(lambda self: any(one.endpoints for one in self.model.slices.values()))
    def flip_a_condition(self, data: st.DataObject, condition: bool | None) -> None:
        field = data.draw(st.sampled_from(("ready", "serving", "terminating")))
        self._change_one(data, {field: condition})

    @rule(data=st.data())
    @precondition(lambda self: any(one.endpoints for one in self.model.slices.values()))
    def change_hints(self, data: st.DataObject) -> None:
        self._change_one(data, {"zone_hints": data.draw(st.just(()) | zone_hints)})

    @rule(data=st.data(), hints=st.sampled_from(("zones", "nodes", "both", "none")))
    def hint_every_endpoint(self, data: st.DataObject, hints: str) -> None:
        for one in list(self.model.slices.values()):
            zones = data.draw(zone_hints) if hints in ("zones", "both") else ()
            nodes = data.draw(node_hints) if hints in ("nodes", "both") else ()
            self._change_all(one, {"zone_hints": zones, "node_hints": nodes})

    @rule(data=st.data())
    def have_every_pod_leave(self, data: st.DataObject) -> None:
        for one in list(self.model.slices.values()):
            serving = data.draw(st.sampled_from((None, True, False)))
            self._change_all(one, {"ready": False, "serving": serving, "terminating": True})

    @rule(data=st.data(), name=st.sampled_from(("s2", "s6")))
    @precondition(lambda self: any(one.family != "FQDN" for one in self.model.slices.values()))
    def give_every_pod_a_second_address(self, data: st.DataObject, name: str) -> None:
        held = [one for one in self.model.slices.values() if one.family != "FQDN"]
        one = data.draw(st.sampled_from(held))
        family, start = ("IPv6", "fd00::") if one.family == "IPv4" else ("IPv4", "10.0.0.")
        endpoints = [
            replace(endpoint, address=start + endpoint.address[-1]) for endpoint in one.endpoints
        ]
        self._set(replace(one, name=name, family=family, endpoints=tuple(endpoints)))

    @rule(data=st.data())
    def list_anew(self, data: st.DataObject) -> None:
        """Some objects went while nobody watched; complete lists say so."""
        for item in self._all():
            if not data.draw(st.integers(0, 3)):
                self.model.remove(item)
        self.cluster.replace_slices(map(as_slice, self.model.slices.values()))
        self.cluster.replace_pods(map(as_pod, self.model.pods.values()))
        self.cluster.replace_services(map(as_service, self.model.services.values()))

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        self.versions += 1
        self.store.feeds["source"].update(self.cluster.touched(), version=self.versions, at=0)
        feed = self.store.feeds["source"]
        assert set(feed.records) == {key_of(one) for one in self.model.services.values()}
        for service in self.model.services.values():
            if service.external_name:
                continue
            for port in service.ports:
                for client in CLIENTS:
                    self._check(service, port, client)

    def _check(self, service: kubeproxy.Service, port: str, client: Client) -> None:
        view = View(Place(client.zone, client.node))
        name = ServiceName(key_of(service), port)
        if not port and len(service.ports) > 1:
            return
        snapshot = self.store.get(name, view).snapshot
        expected = self.model.backends(service, port, client)
        assert [told(endpoint) for endpoint in snapshot.endpoints] == expected
        assert snapshot.service_config == self.model.config(service)
        if client != CLIENTS[self.versions % len(CLIENTS)]:
            return
        _, explained = self.store.explain(name, view)
        listed = [(one.address, one.port) for one in explained.endpoints if one.listed]
        assert listed == [(one.address, one.port) for one in expected]

    def _set(self, item: Item) -> None:
        self.model.set(item)
        put(self.cluster, item)

    def _change_one(self, data: st.DataObject, fields: dict[str, Any]) -> None:
        held = [one for one in self.model.slices.values() if one.endpoints]
        one = data.draw(st.sampled_from(held))
        index = data.draw(st.integers(0, len(one.endpoints) - 1))
        changed = list(one.endpoints)
        changed[index] = replace(changed[index], **fields)
        self._set(replace(one, endpoints=tuple(changed)))

    def _change_all(self, one: Slice, fields: dict[str, Any]) -> None:
        self._set(replace(one, endpoints=tuple(replace(e, **fields) for e in one.endpoints)))

    def _all(self) -> list[Item]:
        if not hasattr(self, "model"):
            return []
        model = self.model
        return [*model.services.values(), *model.slices.values(), *model.pods.values()]


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=300, stateful_step_count=30)
