"""Random histories of one Service and its EndpointSlices, as the API has them, and small."""

from dataclasses import dataclass
from random import Random
from typing import Final

from tests.cluster.api import Object

NAMESPACE: Final = "shop"
SERVICE: Final = "greeter"
PORTS: Final = ("", "grpc", "admin", "50051")
CLIENTS: Final = (("", ""), ("n1", ""), ("n1", "a"), ("n2", "b"), ("n3", "a"), ("", "b"))
"""The node and the zone of those who ask; "": not known."""

_TRIES: Final = (None, True, False)
_ADDRESSES: Final = {
    "IPv4": ("10.0.0.1", "10.0.0.2", "10.0.0.3", "010.000.000.003"),
    "IPv6": ("fd00::1", "fd00::2", "FD00:0::2", "fd00::3"),
    "FQDN": ("one.example", "two.example"),
}
_CLUSTER_IPS: Final = {"IPv4": "10.96.0.7", "IPv6": "fd00:10:96::7"}


@dataclass(frozen=True)
class Event:
    """An object as it has become, or is deleted."""

    kind: str
    object: Object
    deleted: bool = False

    @property
    def name(self) -> tuple[str, str]:
        """What it is, and its name."""
        return self.kind, self.object["metadata"]["name"]


@dataclass(frozen=True)
class History:
    """Events between which a replica may publish, and who asks at the end.

    Attributes:
        steps: The events, by the times at which all that came before is looked at.
        clients: Who asks: node and zone.
        family: The family of the address that stands for a Pod with one of each.
    """

    steps: tuple[tuple[Event, ...], ...]
    clients: tuple[tuple[str, str], ...]
    family: str

    def remaining(self) -> list[Event]:
        """Give the objects that are there at the end."""
        held: dict[tuple[str, str], Event] = {}
        for event in (event for step in self.steps for event in step):
            held.pop(event.name, None)
            if not event.deleted:
                held[event.name] = event
        return list(held.values())

    def service(self) -> Object | None:
        """Give the Service as it is at the end."""
        return next((one.object for one in self.remaining() if one.kind == "Service"), None)


def history(chance: Random) -> History:
    """Give a random history: in half of the cases all objects at once."""
    steps = [[Event("Service", service(chance))]]
    steps[0] += [Event("EndpointSlice", slice_(chance, f"s{n}")) for n in range(_few(chance, 3))]
    for _ in range(chance.choice((0, 0, 0, 1, 2, 4))):
        steps.append([])
        for _ in range(chance.randint(1, 2)):
            steps[-1].append(_change(chance, steps))
    return History(
        tuple(map(tuple, steps)),
        tuple(chance.sample(CLIENTS, 3)),
        chance.choice(("IPv4", "IPv4", "IPv6")),
    )


def _change(chance: Random, steps: list[list[Event]]) -> Event:
    """Give a change, a deletion or a new object; what isn't there can't be deleted."""
    held = History(tuple(map(tuple, steps)), (), "").remaining()
    there = {event.name for event in held}
    kind, name = chance.choice(
        [("Service", SERVICE), *(("EndpointSlice", f"s{n}") for n in range(4))]
    )
    if (kind, name) in there and chance.random() < 0.25:
        (gone,) = (event.object for event in held if event.name == (kind, name))
        return Event(kind, gone, deleted=True)
    made = service(chance) if kind == "Service" else slice_(chance, name)
    for event in held:
        if event.name == (kind, name) and kind == "EndpointSlice":
            # The API lets no slice change it.
            made["addressType"] = event.object["addressType"]
            made["endpoints"] = _endpoints(chance, made["addressType"])
    return Event(kind, made)


def service(chance: Random) -> Object:
    """Give a Service of some ports, with each of its fields drawn or left out."""
    families = chance.choice(
        (["IPv4"], ["IPv4"], ["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"])
    )
    headless = chance.random() < 0.15
    ips = ["None"] if headless else [_CLUSTER_IPS[family] for family in families]
    kind = chance.choice((None, "ClusterIP", "NodePort", "LoadBalancer"))
    kind = None if headless else kind
    # One of several must have a name.
    names = chance.choice(([PORTS[0]], [PORTS[1]], chance.sample(PORTS[1:], 2), PORTS[1:]))
    first = chance.choice((80, 50051))
    numbers = (first, 81, 82)
    spec: Object = {
        "ports": [
            _service_port(chance, name, number)
            for name, number in zip(names, numbers, strict=False)
        ],
        "clusterIP": ips[0],
        "clusterIPs": ips,
        "ipFamilies": families,
        "type": kind,
        "ipFamilyPolicy": chance.choice((None, "SingleStack", "RequireDualStack")),
        "internalTrafficPolicy": chance.choice((None, "Cluster", "Local", "Local")),
        "selector": chance.choice((None, {"app": "greeter"})),
        "publishNotReadyAddresses": chance.choice(_TRIES),
        "trafficDistribution": chance.choice((None, "PreferSameZone", "PreferSameNode")),
        "externalIPs": chance.choice((None, ["192.0.2.9"])),
        "healthCheckNodePort": None,
        "loadBalancerSourceRanges": None,
        "sessionAffinity": chance.choice((None, "None", "ClientIP")),
    }
    if spec["sessionAffinity"] == "ClientIP":
        spec["sessionAffinityConfig"] = chance.choice((None, {"clientIP": {"timeoutSeconds": 9}}))
    if len(families) == 1 and not headless and chance.random() < 0.2:
        del spec["ipFamilies"]
    if kind in ("NodePort", "LoadBalancer"):
        spec["externalTrafficPolicy"] = chance.choice((None, "Cluster", "Local"))
    if kind == "LoadBalancer" and spec["externalTrafficPolicy"] == "Local":
        spec["healthCheckNodePort"] = 30999
    status = {"loadBalancer": chance.choice(({}, {"ingress": [{"ip": "192.0.2.1"}]}))}
    made = {"metadata": _metadata(chance, SERVICE, {}), "spec": spec, "status": status}
    if chance.random() < 0.03:
        spec |= {"type": "ExternalName", "externalName": "db.example"}
    return without_nothing(chance, made)


def _service_port(chance: Random, name: str, number: int) -> Object:
    return {
        "name": name or chance.choice((None, "")),
        "port": number,
        "protocol": chance.choice((None, None, None, "TCP", "TCP", "TCP", "UDP")),
        "targetPort": chance.choice((None, 50051, "grpc")),
        "nodePort": chance.choice((None, 30000 + number % 1000)),
        "appProtocol": chance.choice((None, "kubernetes.io/h2c")),
    }


def slice_(chance: Random, name: str) -> Object:
    """Give a slice, with each of its fields drawn or left out."""
    family = chance.choice((*("IPv4",) * 8, *("IPv6",) * 5, "FQDN"))
    label = chance.choice((*(SERVICE,) * 14, "other", None))
    labels = {"kubernetes.io/service-name": label, "endpointslice.kubernetes.io/managed-by": "me"}
    names = PORTS if chance.random() < 0.85 else chance.sample(PORTS, chance.randint(0, 2))
    made = {
        "metadata": _metadata(chance, name, labels),
        "addressType": family,
        "ports": [_slice_port(chance, port) for port in names],
        "endpoints": _endpoints(chance, family),
    }
    return without_nothing(chance, made)


def _slice_port(chance: Random, name: str) -> Object:
    return {
        "name": name or chance.choice((None, "")),
        "port": chance.choice((*(50051,) * 14, 6000, 6000, 0, None)),
        "protocol": chance.choice((*(None,) * 8, *("TCP",) * 8, "UDP")),
        "appProtocol": chance.choice((None, "kubernetes.io/h2c")),
    }


def _endpoints(chance: Random, family: str) -> list[Object] | None:
    kind = chance.choice(("plain", "leaving", "zones", "nodes", "both", "mixed", "mixed", "mixed"))
    made = [_endpoint(chance, family, kind) for _ in range(_few(chance, 3))]
    return [without_nothing(chance, each) for each in made] or chance.choice((None, []))


def _endpoint(chance: Random, family: str, kind: str) -> Object:
    addresses = _ADDRESSES[family]
    uid = chance.choice((None, "u1", "u2", "u3"))
    conditions: Object | None = {}
    if kind == "leaving":
        serving = chance.choice(_TRIES)
        conditions = {"ready": False, "serving": serving, "terminating": True}
    elif kind == "mixed":
        names = ("ready", "serving", "terminating")
        conditions = {name: chance.choice(_TRIES) for name in names}
    hints: Object = {}
    if kind in ("zones", "both") or (kind == "mixed" and chance.random() < 0.3):
        zones = chance.sample(("a", "b"), chance.randint(1, 2))
        hints["forZones"] = [{"name": zone} for zone in zones]
    if kind in ("nodes", "both") or (kind == "mixed" and chance.random() < 0.3):
        hints["forNodes"] = [{"name": chance.choice(("n1", "n2"))}]
    return {
        "addresses": chance.sample(addresses, chance.choice((1, 1, 1, 2))),
        "conditions": conditions or chance.choice((None, {})),
        "nodeName": chance.choice((None, "n1", "n1", "n2")),
        "zone": chance.choice((None, "a", "b")),
        "hints": hints or chance.choice((None, {})),
        "hostname": chance.choice((None, "h1")),
        "targetRef": uid and {"kind": "Pod", "name": f"pod-{uid}", "uid": uid},
        "deprecatedTopology": chance.choice((None, {"kubernetes.io/hostname": "n2"})),
    }


def _metadata(chance: Random, name: str, labels: dict[str, str | None]) -> Object:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "resourceVersion": str(chance.randint(1, 9)),
        "uid": chance.choice((None, "a-uid")),
        "labels": {key: value for key, value in labels.items() if value},
        "annotations": chance.choice((None, {"kubernetes.io/description": "none"})),
        "managedFields": chance.choice((None, [{"manager": "me", "fieldsV1": {"f:spec": {}}}])),
    }


def without_nothing(chance: Random, value: Object) -> Object:
    """Leave out, or leave as null, what is None, at any depth: the API takes both."""

    def pruned(value: object) -> object:
        if isinstance(value, list):
            return [pruned(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: pruned(each)
            for name, each in value.items()
            if each is not None or chance.random() < 0.1
        }

    return {name: pruned(each) for name, each in value.items() if each is not None}


def _few(chance: Random, most: int) -> int:
    return chance.randint(1, most) if chance.random() < 0.9 else 0
