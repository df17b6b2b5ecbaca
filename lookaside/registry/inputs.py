"""The inputs of a service's endpoints."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from lookaside.model import Locality
from lookaside.policy.service_config import STICKY
from lookaside.policy.weights import WeightRule
from lookaside.registry.annotations import Reading, ServicePolicy, weigh
from lookaside.registry.slices import Pod, Service, Slice, SliceEndpoint

Family = Literal["IPv4", "IPv6"]
Pairs = tuple[tuple[str, str], ...]


class HeldSlice(Struct, frozen=True, gc=False):
    """A slice and what its weight annotation says."""

    slice: Slice
    weight: Reading[int] = Reading()


class HeldPod(Struct, frozen=True, gc=False):
    """A Pod and what its weight annotation says."""

    pod: Pod
    weight: Reading[int] = Reading()


class MergeOptions(Struct, frozen=True, gc=False):
    """Options of merging.

    Attributes:
        family: The family of the address that stands for a Pod with one of each.
        labels: The labels of Pods that are passed on as metadata.
    """

    family: Family = "IPv4"
    labels: tuple[str, ...] = ()


class Inputs(Struct, frozen=True, gc=False):
    """All that a service's endpoints are made of.

    Attributes:
        service: The Service.
        policy: What its annotations say.
        slices: Its slices, in any order.
        pods: The Pods of its namespace that are known, by name.
        options: How endpoints are made.
    """

    service: Service
    policy: ServicePolicy = ServicePolicy()
    slices: tuple[HeldSlice, ...] = ()
    pods: Mapping[str, HeldPod] = {}
    options: MergeOptions = MergeOptions()

    def ranked(self) -> list[HeldSlice]:
        """Return the slices, those first that count where two have the same endpoint."""
        return sorted(self.slices, key=self._rank)

    def number(self, slice_: Slice, port: str) -> tuple[int, str]:
        """Return the number that a port has in a slice; 0, and why, where it has none."""
        if self.service.external_name:
            return 0, f"the Service is an alias of {self.service.external_name}"
        if all(one.name != port for one in self.service.ports):
            return (
                0,
                f"the Service has no port named {port!r}" if port else "the Service has no ports",
            )
        if slice_.address_type == "FQDN":
            return 0, "its slice is of the deprecated type FQDN"
        families = self.service.families
        if families and slice_.address_type not in families:
            return (
                0,
                f"its slice is of {slice_.address_type}, and the Service of {families[0]} alone",
            )
        number = next((one.number for one in slice_.ports if one.name == port), 0)
        if number:
            return number, ""
        return 0, f"its slice has no port named {port!r}" if port else "its slice has no port"

    def weigh(
        self, held: HeldSlice, endpoint: SliceEndpoint, locality: Locality
    ) -> tuple[int, WeightRule | str]:
        """Return the weight of a slice's endpoint and where it is from."""
        pod = self.pods.get(endpoint.pod) if self.pods else None
        return weigh(
            pod.weight if pod else None,
            self.policy.weights.value or (),
            held.weight,
            locality,
            pod.pod.labels if pod else {},
        )

    def service_config(self) -> str:
        """Return the service config for its clients, JSON; "" for none."""
        return self.policy.service_config.value or (STICKY if self.service.sticky else "")

    def metadata(self, endpoint: SliceEndpoint) -> Pairs:
        """Return what else is known of an endpoint, in the order of the keys."""
        pod = self.pods.get(endpoint.pod) if self.options.labels else None
        if pod is None:
            host = (("hostname", endpoint.hostname),) if endpoint.hostname else ()
            name = (("pod", endpoint.pod),) if endpoint.pod else ()
            node, zone = _place(endpoint.node, endpoint.zone)
            return host + node + name + zone
        known = {name: pod.pod.labels.get(name, "") for name in self.options.labels}
        known |= {
            "hostname": endpoint.hostname,
            "node": endpoint.node,
            "pod": endpoint.pod,
            "zone": endpoint.zone,
        }
        return tuple(sorted(pair for pair in known.items() if pair[1]))

    def _rank(self, held: HeldSlice) -> tuple[bool, str, str]:
        family = held.slice.address_type
        return family != self.options.family, family, held.slice.name


# A cluster has far fewer nodes than endpoints: those of one node share these.
@lru_cache(maxsize=16_384)
def _place(node: str, zone: str) -> tuple[Pairs, Pairs]:
    return (("node", node),) if node else (), (("zone", zone),) if zone else ()
