"""The lists of random clusters are kube-proxy's own, but for what docs/kubernetes.md names.

KUBEPROXY_STATES is how many clusters there are. Each has a seed of its own, which a failure names;
KUBEPROXY_FIRST is the first one's.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final, Literal

import pytest

from lookaside.model import Endpoint, Health, ServiceKey, ServiceName
from lookaside.policy.topology import Place
from lookaside.policy.view import View
from lookaside.registry.cluster import Cluster
from lookaside.registry.inputs import MergeOptions
from lookaside.sources.kubernetes.api.decode import Change
from lookaside.sources.kubernetes.objects.endpoint_slices import ENDPOINT_SLICES
from lookaside.sources.kubernetes.objects.services import SERVICES
from tests.cluster.api import Object
from tests.cluster.harness import Binaries
from tests.cluster.proxystates import NAMESPACE, SERVICE, Event, History, history
from tests.registry import kubeproxy
from tests.registry.conftest import a_store

STATES: Final = int(os.environ.get("KUBEPROXY_STATES", "5000"))
FIRST: Final = int(os.environ.get("KUBEPROXY_FIRST", "1"))

_KEY: Final = ServiceKey(NAMESPACE, SERVICE)
_AT_ONCE: Final = 1000

_CANONICAL: Final = {"010.000.000.003": "10.0.0.3", "FD00:0::2": "fd00::2"}

Lists = dict[tuple[str, str], dict[str, list[str]]]
"""By the client's node and zone, and by port."""


@pytest.mark.parametrize("first", range(FIRST, FIRST + STATES, _AT_ONCE))
def test_the_lists_of_random_clusters_are_those_of_kube_proxy(
    binaries: Binaries, first: int
) -> None:
    seeds = range(first, min(first + _AT_ONCE, FIRST + STATES))
    histories = [history(Random(seed)) for seed in seeds]
    listed = 0
    for seed, one, judged in zip(seeds, histories, judge(binaries, histories), strict=True):
        replica = Replica(one, large=0)
        replica.live(one.steps, Random(seed))
        ours = replica.lists(one)
        said = f"seed {seed} of tests/cluster/proxystates.py"
        assert ours == expected(one, judged), said
        assert replica.explained(one) == ours, said
        assert model(one) == ours, said
        late = Replica(one, large=1000)
        late.live(_in_another_order(one, Random(-seed)), Random(seed))
        assert late.answers(one) == replica.answers(one), said
        listed += any(any(ports.values()) for ports in ours.values())
    assert listed >= len(seeds) // 4, "most end without any endpoint: they show nothing"


def judge(binaries: Binaries, histories: Iterable[History]) -> list[list[dict[str, Any]]]:
    """Ask kube-proxy's code; see `answer` of kubeproxy/main.go."""
    asked = "".join(json.dumps(_question(one)) + "\n" for one in histories)
    done = subprocess.run(
        [binaries.kubeproxy], input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _question(one: History) -> Object:
    field = {"Service": "service", "EndpointSlice": "slice"}
    return {
        "steps": [
            [{field[each.kind]: each.object, "deleted": each.deleted} for each in step]
            for step in one.steps
        ],
        "clients": [{"node": node, "zone": zone} for node, zone in one.clients],
        "family": one.family,
    }


def expected(one: History, judged: Sequence[Mapping[str, Mapping[str, Any]]]) -> Lists:
    """Give the lists that ours must be: kube-proxy's, and the differences that are allowed."""
    service = one.service()
    found: Lists = {}
    for (node, zone), ports in zip(one.clients, judged, strict=True):
        lists = {}
        for port, families in ports.items():
            # Both families are one list, with each Pod once.
            used = families.get("both") or next(iter(families.values()))
            lists[port] = used["internal"]
            # kube-proxy always knows its node; a client that doesn't name its own gets all, as if
            # there were neither a policy nor hints.
            if not node and service and _is_local(service):
                lists[port] = used["anywhere"]
        found[node, zone] = lists
    return found


def _is_local(service: Object) -> bool:
    return bool(service["spec"].get("internalTrafficPolicy") == "Local")


class Replica:
    """What a replica makes of the bytes that the API server sends.

    Args:
        one: Whose settings it has.
        large: Of how many endpoints on it keeps what each slice gives.
    """

    def __init__(self, one: History, *, large: int) -> None:
        family: Literal["IPv4", "IPv6"] = "IPv6" if one.family == "IPv6" else "IPv4"
        self._cluster = Cluster(MergeOptions(family), large=large)
        self._store = a_store()

    def live(self, steps: Iterable[Iterable[Event]], chance: Random) -> None:
        """Follow events, and publish now and then."""
        for step in steps:
            for event in step:
                self._take(event)
                if chance.random() < 0.3:
                    self._publish()
        self._publish()

    def lists(self, one: History) -> Lists:
        """Give the list of each client and port."""
        return {client: dict(self._ports(client)) for client in one.clients}

    def explained(self, one: History) -> Lists:
        """Give what `explain` calls listed, of each client and port."""
        found: Lists = {}
        for client, ports in self.lists(one).items():
            found[client] = {}
            view = _view(client)
            told = {port: self._store.explain(_name(port), view)[1] for port in ports}
            found[client] = {
                port: sorted(
                    _target(one.address, one.port, one.reason.startswith("terminating"))
                    for one in explained.endpoints
                    if one.listed
                )
                for port, explained in told.items()
            }
        return found

    def answers(self, one: History) -> list[bytes]:
        """Give the bytes that clients get."""
        found = []
        for client, ports in self.lists(one).items():
            view = _view(client)
            found += [self._store.get(_name(port), view).whole() for port in sorted(ports)]
        return found

    def _take(self, event: Event) -> None:
        kind = "DELETED" if event.deleted else "MODIFIED"
        line = json.dumps({"type": kind, "object": event.object}).encode()
        if event.kind == "Service":
            change = SERVICES.event(line)
            assert isinstance(change, Change)
            assert not change.item.flaws, change
            if event.deleted:
                self._cluster.remove_service(_KEY)
            elif change.item.value is not None:
                self._cluster.set_service(change.item.value)
            return
        changed = ENDPOINT_SLICES.event(line)
        assert isinstance(changed, Change)
        assert not changed.item.flaws, changed
        if event.deleted or changed.item.value is None:
            self._cluster.remove_slice(NAMESPACE, event.name[1])
        else:
            self._cluster.set_slice(changed.item.value)

    def _publish(self) -> None:
        feed = self._store.feeds["source"]
        feed.update(self._cluster.touched(), version=2, at=0)

    def _ports(self, client: tuple[str, str]) -> Iterator[tuple[str, list[str]]]:
        record = self._store.feeds["source"].records.get(_KEY)
        if record is None or record.external_name:
            return
        for port in record.ports:
            shown = self._store.get(_name(port.name), _view(client))
            yield port.name, sorted(_listed(one) for one in shown.snapshot.endpoints)


def _listed(one: Endpoint) -> str:
    return _target(one.address, one.port, one.health is Health.TERMINATING)


def model(one: History) -> Lists:
    """Give the lists of the model in tests/registry/kubeproxy.py, which has the same objects."""
    cluster = kubeproxy.Cluster("IPv6" if one.family == "IPv6" else "IPv4")
    for event in one.remaining():
        if event.kind == "EndpointSlice":
            cluster.set(_modelled_slice(event.object))
    found: Lists = {client: {} for client in one.clients}
    service = one.service()
    if service is None or service["spec"].get("type") == "ExternalName":
        return found
    modelled = _modelled_service(service)
    for node, zone in one.clients:
        found[node, zone] = {
            port: sorted(
                _target(backend.address, backend.port, backend.terminating)
                for backend in cluster.backends(modelled, port, kubeproxy.Client(zone, node))
            )
            for port in modelled.ports
        }
    return found


def _modelled_service(service: Object) -> kubeproxy.Service:
    spec = service["spec"]
    by_address = ("IPv6",) if ":" in spec["clusterIP"] else ("IPv4",)
    return kubeproxy.Service(
        NAMESPACE,
        SERVICE,
        tuple(port.get("name") or "" for port in spec["ports"] if _is_tcp(port)),
        families=tuple(spec.get("ipFamilies") or by_address),
        local=_is_local(service),
    )


def _modelled_slice(made: Object) -> kubeproxy.Slice:
    meta = made["metadata"]
    return kubeproxy.Slice(
        NAMESPACE,
        meta["name"],
        meta["labels"].get("kubernetes.io/service-name", ""),
        made["addressType"],
        tuple(
            (port.get("name") or "", port.get("port") or 0)
            for port in made.get("ports") or ()
            if _is_tcp(port)
        ),
        tuple(map(_modelled_endpoint, made.get("endpoints") or ())),
    )


def _modelled_endpoint(made: Object) -> kubeproxy.Endpoint:
    hints, target = made.get("hints") or {}, made.get("targetRef") or {}
    conditions = made.get("conditions") or {}
    return kubeproxy.Endpoint(
        _CANONICAL.get(made["addresses"][0], made["addresses"][0]),
        conditions.get("ready"),
        conditions.get("serving"),
        conditions.get("terminating"),
        made.get("zone") or "",
        made.get("nodeName") or "",
        target.get("name", ""),
        target.get("uid", ""),
        tuple(hint["name"] for hint in hints.get("forZones") or ()),
        tuple(hint["name"] for hint in hints.get("forNodes") or ()),
    )


def _is_tcp(port: Object) -> bool:
    return port.get("protocol") in (None, "TCP")


def _in_another_order(one: History, chance: Random) -> list[list[Event]]:
    """Give the events so that those of one object keep their order, or the last of each alone."""
    if chance.random() < 0.5:
        return [chance.sample(one.remaining(), len(one.remaining()))]
    queues: dict[tuple[str, str], list[Event]] = {}
    for event in (event for step in one.steps for event in step):
        queues.setdefault(event.name, []).append(event)
    order = []
    while queues:
        name = chance.choice(sorted(queues))
        order.append([queues[name].pop(0)])
        if not queues[name]:
            del queues[name]
    return order


def _name(port: str) -> ServiceName:
    return ServiceName(_KEY, port)


def _view(client: tuple[str, str]) -> View:
    node, zone = client
    return View(Place(zone, node))


def _target(address: str, port: int, terminating: bool) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}{' terminating' if terminating else ''}"
