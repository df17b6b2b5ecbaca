"""kube-proxy's rules, as plain as they can be written: a model to hold the registry against.

Every answer is made anew from all objects, rule by rule. Slow, and without a line of the code that
it judges.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

STICKY = '{"loadBalancingConfig":[{"pick_first":{"shuffleAddressList":true}}]}'


@dataclass(frozen=True)
class Annotation:
    """An annotation as written, and what it means; None: it is bad."""

    text: str = ""
    meaning: object = None

    @property
    def absent(self) -> bool:
        return not self.text


@dataclass(frozen=True)
class Rule:
    weight: int
    labels: tuple[tuple[str, str], ...] = ()
    zone: str = ""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of a slice; a condition may be nil."""

    address: str
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    zone: str = ""
    node: str = ""
    pod: str = ""
    uid: str = ""
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slice:
    namespace: str
    name: str
    service: str
    family: str
    ports: tuple[tuple[str, int], ...]
    endpoints: tuple[Endpoint, ...]
    weight: Annotation = Annotation()


@dataclass(frozen=True)
class Service:
    namespace: str
    name: str
    ports: tuple[str, ...]
    external_name: str = ""
    weights: Annotation = Annotation()
    config: Annotation = Annotation()
    families: tuple[str, ...] = ()
    local: bool = False
    sticky: bool = False


@dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    uid: str
    labels: tuple[tuple[str, str], ...] = ()
    weight: Annotation = Annotation()


@dataclass(frozen=True)
class Client:
    zone: str = ""
    node: str = ""


@dataclass(frozen=True)
class Backend:
    """What a client is told of a backend."""

    address: str
    port: int
    weight: int
    terminating: bool
    zone: str
    node: str
    metadata: tuple[tuple[str, str], ...]


@dataclass
class Cluster:
    """All objects of a cluster, and the last good value of each of their annotations."""

    family: str = "IPv4"
    labels: tuple[str, ...] = ()
    services: dict[tuple[str, str], Service] = field(default_factory=dict)
    slices: dict[tuple[str, str], Slice] = field(default_factory=dict)
    pods: dict[tuple[str, str], Pod] = field(default_factory=dict)
    good: dict[tuple[object, ...], object] = field(default_factory=dict)

    def set(self, item: Service | Slice | Pod) -> None:
        key = (item.namespace, item.name)
        if isinstance(item, Service):
            self.services[key] = item
            self._read(("service", *key, "weights"), item.weights)
            self._read(("service", *key, "config"), item.config)
        elif isinstance(item, Slice):
            self.slices[key] = item
            self._read(("slice", *key), item.weight)
        else:
            if key in self.pods and self.pods[key].uid != item.uid:
                self.remove(self.pods[key])
            self.pods[key] = item
            self._read(("pod", *key), item.weight)

    def remove(self, item: Service | Slice | Pod) -> None:
        key = (item.namespace, item.name)
        kind = type(item).__name__.lower()
        if isinstance(item, Service):
            self.services.pop(key, None)
        elif isinstance(item, Slice):
            self.slices.pop(key, None)
        else:
            self.pods.pop(key, None)
        self.good = {of: value for of, value in self.good.items() if of[:3] != (kind, *key)}

    def backends(self, service: Service, port: str, client: Client) -> list[Backend]:
        """Return the list of a port, in order."""
        found = self._standing(service, port)
        if service.local and client.node:
            found = [one for one in found if one[1].node == client.node]
        ready = [one for one in found if one[1].ready in (None, True)]
        first = ready or [
            one for one in found if one[1].serving in (None, True) and one[1].terminating
        ]
        once = [
            one
            for one in first
            if not one[1].uid
            or one[0].family == self.family
            or all(o[1].uid != one[1].uid or o[0].family != self.family for o in first)
        ]
        near = [one[1] for one in once]
        if not service.local:
            near = list(_meant(near, client))
        meant = [one for one in once if one[1] in near]
        return sorted(
            (self._backend(service, *one) for one in meant), key=lambda one: (one.address, one.port)
        )

    def config(self, service: Service) -> object:
        own = self.good.get(("service", service.namespace, service.name, "config"), "")
        return own or (STICKY if service.sticky else "")

    def _read(self, key: tuple[object, ...], annotation: Annotation) -> None:
        if annotation.absent:
            self.good.pop(key, None)
        elif annotation.meaning is not None:
            self.good[key] = annotation.meaning

    def _standing(self, service: Service, port: str) -> list[tuple[Slice, Endpoint, int]]:
        """Return each address of a port once, fit or not, as addEndpoints has it.

        kube-proxy takes the slices in any order. Here it is the order of their names, the last
        first, except that a ready endpoint is not replaced by one of another slice that isn't.
        """
        standing: dict[tuple[str, int], tuple[Slice, Endpoint, int]] = {}
        for one in sorted(self.slices.values(), key=lambda s: s.name, reverse=True):
            if (one.namespace, one.service) != (service.namespace, service.name):
                continue
            if one.family == "FQDN" or (service.families and one.family not in service.families):
                continue
            own: dict[tuple[str, int], tuple[Slice, Endpoint, int]] = {}
            for name, number in one.ports:
                for endpoint in one.endpoints if name == port and number else ():
                    target = (endpoint.address, number)
                    if target not in own or not endpoint.terminating:
                        own[target] = (one, endpoint, number)
            for target, found in own.items():
                other = standing.get(target)
                keeps = other is not None and _stays(other[1]) and not _stays(found[1])
                if other is None or not (found[1].terminating or keeps):
                    standing[target] = found
        return list(standing.values())

    def _backend(self, service: Service, of: Slice, endpoint: Endpoint, number: int) -> Backend:
        labels = dict(self._pod_labels(of, endpoint))
        metadata = {name: labels[name] for name in self.labels if name in labels}
        metadata |= {"node": endpoint.node, "pod": endpoint.pod, "zone": endpoint.zone}
        return Backend(
            endpoint.address,
            number,
            self._weight(service, of, endpoint),
            endpoint.ready is False,
            endpoint.zone,
            endpoint.node,
            tuple((name, metadata[name]) for name in sorted(metadata) if metadata[name]),
        )

    def _weight(self, service: Service, of: Slice, endpoint: Endpoint) -> int:
        """Return the weight: the Pod's, else that of the first rule, else the slice's, else 100."""
        pod = self.good.get(("pod", of.namespace, endpoint.pod))
        labels = dict(self._pod_labels(of, endpoint))
        rules = self.good.get(("service", service.namespace, service.name, "weights"), ())
        assert isinstance(rules, tuple)
        matching = [
            rule.weight
            for rule in rules
            if rule.zone in ("", endpoint.zone)
            if all(labels.get(name) == value for name, value in rule.labels)
        ]
        own = self.good.get(("slice", of.namespace, of.name))
        (weight, *_) = [one for one in (pod, *matching, own, 100) if one is not None]
        assert isinstance(weight, int)
        return weight

    def _pod_labels(self, of: Slice, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        pod = self.pods.get((of.namespace, endpoint.pod))
        return pod.labels if pod else ()


def _stays(endpoint: Endpoint) -> bool:
    return endpoint.ready in (None, True) and endpoint.terminating is not True


def _meant(endpoints: list[Endpoint], client: Client) -> Iterable[Endpoint]:
    """Return the endpoints for a client: by node hints, else by zone hints, else all."""
    if not all(one.ready in (None, True) for one in endpoints):
        return endpoints
    for_node = [one for one in endpoints if client.node in one.node_hints]
    if client.node and for_node and all(one.node_hints for one in endpoints):
        return for_node
    for_zone = [one for one in endpoints if client.zone in one.zone_hints]
    if client.zone and for_zone and all(one.zone_hints for one in endpoints):
        return for_zone
    return endpoints
