"""What a service config becomes in xDS, for each kind of client. Pure.

A service config (https://github.com/grpc/grpc/blob/master/doc/service_config.md, and what the
companion package adds to it) is what a Service's annotation gives to the clients of the native
door. Here it becomes parts of clusters and routes; docs/clients/xds.md has the whole table.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue, FloatValue, UInt32Value
from msgspec import Struct

from lookaside._pb.xds import client_side_weighted_round_robin_pb2 as load_reports_pb
from lookaside._pb.xds import cluster_pb2 as pb
from lookaside._pb.xds import core_pb2, route_pb2, wrr_locality_pb2
from lookaside._pb.xds.least_request_pb2 import LeastRequest
from lookaside._pb.xds.pick_first_pb2 import PickFirst
from lookaside._pb.xds.ring_hash_pb2 import RingHash
from lookaside._pb.xds.round_robin_pb2 import RoundRobin
from lookaside.api.xds.kinds import ClientKind
from lookaside.policy.balancing import POLICIES

MOST_LOCALITIES = 50
"""Endpoints that are given a locality each. C-core's cost of more grows with their square."""

Settings = Mapping[str, object]

_PREFIX = "envoy.load_balancing_policies"
# What gRPC retries by xDS (gRFC A44), as Envoy calls them.
_RETRIED = {
    "CANCELLED": "cancelled",
    "DEADLINE_EXCEEDED": "deadline-exceeded",
    "INTERNAL": "internal",
    "RESOURCE_EXHAUSTED": "resource-exhausted",
    "UNAVAILABLE": "unavailable",
}
_ENVOYS = {
    "least_request": pb.Cluster.LEAST_REQUEST,
    "peak_ewma": pb.Cluster.LEAST_REQUEST,
    "ring_hash": pb.Cluster.RING_HASH,
    "maglev": pb.Cluster.MAGLEV,
}
_HASHES = ("ring_hash", "maglev")


class Plan(Struct, frozen=True):
    """How the endpoints of a list are put and picked.

    Attributes:
        apart: Whether each has a locality of its own, whose weight is the endpoint's.
        policies: The policies of the cluster, in order: a client uses the first that it knows.
        envoy: How Envoy balances.
    """

    apart: bool
    policies: tuple[Message, ...]
    envoy: pb.Cluster.LbPolicy = pb.Cluster.ROUND_ROBIN


class Config:
    """A service config, taken apart.

    Args:
        text: JSON that `lookaside.policy.service_config` has let through; "" for none.
    """

    def __init__(self, text: str) -> None:
        self._all: Settings = msgspec.json.decode(text, type=dict[str, object]) if text else {}
        self.policy, self.settings, self._outliers = self._balancing()

    @property
    def levels(self) -> tuple[str, ...]:
        """What makes an endpoint near: ``node``, ``zone``; none: all are alike."""
        return tuple(map(str, _items(_object(self._all, "localityPriorities").get("levels"))))

    @property
    def overprovisioning(self) -> int | None:
        """From which share of endpoints that are up, in percent, a priority is overfull."""
        return _whole(_object(self._all, "localityPriorities").get("overprovisioningFactor"))

    def plan(self, kind: ClientKind, weights: Sequence[int]) -> Plan:
        """Decide how endpoints are put and picked.

        The weights win: a policy that ignores them is for lists whose weights are equal. Where each
        endpoint has a locality of its own, a change of weights keeps every connection; that of its
        locality would cost C-core a new one.

        Args:
            kind: What the client is built of.
            weights: The endpoints' weights, each above 0.
        """
        even = len(set(weights)) <= 1
        if kind.proxy:
            heedless = {"random": pb.Cluster.RANDOM} if even else {}
            chosen = (_ENVOYS | heedless).get(self.policy, pb.Cluster.ROUND_ROBIN)
            return Plan(False, (), chosen)
        if self.policy in _HASHES:
            return Plan(False, (self._ring(kind),))
        inside = self._inside(even=even)
        if inside is not None:
            return Plan(False, (_over_localities(inside),))
        apart = len(weights) <= MOST_LOCALITIES
        if apart or even:
            return Plan(apart, (_over_localities(),))
        return Plan(False, (RingHash(hash_function=RingHash.XX_HASH),))

    def thresholds(self) -> pb.CircuitBreakers.Thresholds | None:
        """Return how much a client may have under way; None where nothing is said of it."""
        said = _object(self._all, "circuitBreaker")
        if not said:
            return None
        return pb.CircuitBreakers.Thresholds(
            max_connections=_number(said.get("maxConnections")),
            max_pending_requests=_number(said.get("maxPendingRequests")),
            max_requests=_number(said.get("maxRequests")),
            max_retries=_number(said.get("maxRetries")),
        )

    def outliers(self) -> pb.OutlierDetection | None:
        """Return when a backend is taken out (gRFC A50); None where nothing is said of it.

        What the message leaves out is on by default, at Envoy's numbers.
        """
        said = self._outliers
        if not said:
            return None
        rate = _object(said, "successRateEjection")
        failures = _object(said, "failurePercentageEjection")
        row = _whole(said.get("consecutiveErrors"))
        return pb.OutlierDetection(
            interval=_duration(said.get("interval")),
            base_ejection_time=_duration(said.get("baseEjectionTime")),
            max_ejection_time=_duration(said.get("maxEjectionTime")),
            max_ejection_percent=_number(said.get("maxEjectionPercent")),
            consecutive_5xx=_number(row),
            enforcing_consecutive_5xx=UInt32Value(value=100 if row else 0),
            enforcing_consecutive_gateway_failure=UInt32Value(value=0),
            enforcing_success_rate=_enforced(said, "successRateEjection"),
            success_rate_stdev_factor=_number(rate.get("stdevFactor")),
            success_rate_minimum_hosts=_number(rate.get("minimumHosts")),
            success_rate_request_volume=_number(rate.get("requestVolume")),
            enforcing_failure_percentage=_enforced(said, "failurePercentageEjection"),
            failure_percentage_threshold=_number(failures.get("threshold")),
            failure_percentage_minimum_hosts=_number(failures.get("minimumHosts")),
            failure_percentage_request_volume=_number(failures.get("requestVolume")),
        )

    def routes(self, cluster: str, kind: ClientKind) -> list[route_pb2.Route]:
        """Return the routes to a cluster: methods, then services, then all the rest."""
        found = dict[tuple[str, str], Settings]()
        for method in _objects(self._all.get("methodConfig")):
            for name in _objects(method.get("name")) or [{}]:
                key = str(name.get("service") or ""), str(name.get("method") or "")
                found.setdefault(key, method)
        found.setdefault(("", ""), {})
        # An exact path, then what begins with a service, then all: "" comes last.
        ordered = sorted(found, key=lambda key: (not key[1], not key[0], key))
        return [
            route_pb2.Route(match=_match(*key), route=self._action(cluster, kind, found[key]))
            for key in ordered
        ]

    def _balancing(self) -> tuple[str, Settings, Settings]:
        """Return the first policy that is known, its settings, and those of outlier detection."""
        outliers = _object(self._all, "outlierDetection")
        policies = self._all.get("loadBalancingConfig")
        if not policies:
            return str(self._all.get("loadBalancingPolicy") or "").lower(), {}, outliers
        while True:
            for name, settings in _policies(policies):
                plain = name.removesuffix("_experimental")
                if plain in POLICIES:
                    return plain, settings, outliers
                if plain in ("outlier_detection", "random_subsetting"):
                    outliers = settings if plain == "outlier_detection" else outliers
                    policies = settings.get("childPolicy")
                    break
            else:
                return "", {}, outliers

    def _inside(self, *, even: bool) -> Message | None:
        """Return the policy that picks among all endpoints by itself; None: there is none."""
        if self.policy == "pick_first":
            return PickFirst(shuffle_address_list=bool(self.settings.get("shuffleAddressList")))
        if self.policy == "weighted_round_robin" and self.settings.get("backendMetrics"):
            return self._load_reports()
        if self.policy == "least_request" and even:
            return LeastRequest(choice_count=_number(self.settings.get("choiceCount")))
        return None

    def _ring(self, kind: ClientKind) -> RingHash:
        ring = RingHash(hash_function=RingHash.XX_HASH)
        if kind.sizes_rings and self.policy == "ring_hash":
            least, most = map(_whole, map(self.settings.get, ("minRingSize", "maxRingSize")))
            if least is not None:
                ring.minimum_ring_size.value = least
            if most is not None:
                ring.maximum_ring_size.value = most
        return ring

    def _load_reports(self) -> Message:
        said = self.settings
        oob = said.get("enableOobLoadReport")
        penalty = said.get("errorUtilizationPenalty")
        return load_reports_pb.ClientSideWeightedRoundRobin(
            enable_oob_load_report=None if oob is None else BoolValue(value=bool(oob)),
            oob_reporting_period=_duration(said.get("oobReportingPeriod")),
            blackout_period=_duration(said.get("blackoutPeriod")),
            weight_expiration_period=_duration(said.get("weightExpirationPeriod")),
            weight_update_period=_duration(said.get("weightUpdatePeriod")),
            error_utilization_penalty=(
                None if penalty is None else FloatValue(value=float(str(penalty)))
            ),
        )

    def _action(self, cluster: str, kind: ClientKind, said: Settings) -> route_pb2.RouteAction:
        action = route_pb2.RouteAction(cluster=cluster)
        limit = _duration(said.get("timeout"))
        if kind.proxy:
            # 15 s by default, which no long stream would outlive; 0 is none.
            action.timeout.CopyFrom(limit or Duration())
        elif limit is not None and limit.ToNanoseconds():
            action.max_stream_duration.max_stream_duration.CopyFrom(limit)
        retry = _retry(_object(said, "retryPolicy"))
        if retry is not None:
            action.retry_policy.CopyFrom(retry)
        header = str(self.settings.get("requestHashHeader") or "")
        if self.policy in _HASHES and header:
            action.hash_policy.add().header.header_name = header
        return action


def _over_localities(*policies: Message) -> Message:
    """Return a policy over localities by weight; inside one, that of these which a client knows."""
    return wrr_locality_pb2.WrrLocality(
        endpoint_picking_policy=ladder([*policies, RoundRobin()]),
    )


def ladder(policies: Sequence[Message]) -> pb.LoadBalancingPolicy:
    """Return an ordered list of policies: a client uses the first that it knows."""
    found = pb.LoadBalancingPolicy()
    for policy in policies:
        typed = Any()
        typed.Pack(policy)
        name = policy.DESCRIPTOR.file.package.split(".")[-2]
        found.policies.add(
            typed_extension_config=core_pb2.TypedExtensionConfig(
                name=f"{_PREFIX}.{name}", typed_config=typed
            )
        )
    return found


def _match(service: str, method: str) -> route_pb2.RouteMatch:
    if method:
        return route_pb2.RouteMatch(path=f"/{service}/{method}")
    return route_pb2.RouteMatch(prefix=f"/{service}/" if service else "/")


def _retry(said: Settings) -> route_pb2.RetryPolicy | None:
    codes = [
        _RETRIED[code] for code in map(_code, _items(said.get("retryableStatusCodes"))) if code
    ]
    attempts = _whole(said.get("maxAttempts"))
    if not codes or attempts is None:
        return None
    policy = route_pb2.RetryPolicy(
        retry_on=",".join(codes),
        num_retries=UInt32Value(value=attempts - 1),
        per_try_timeout=_duration(said.get("perAttemptRecvTimeout")),
    )
    base, most = _duration(said.get("initialBackoff")), _duration(said.get("maxBackoff"))
    if base is not None and most is not None:
        policy.retry_back_off.base_interval.CopyFrom(base)
        # A longest wait that is shorter than the first is refused.
        longest = max(base, most, key=Duration.ToNanoseconds)
        policy.retry_back_off.max_interval.CopyFrom(longest)
    return policy


def _code(value: object) -> str:
    """Return a status code that is retried by xDS, "" for any other."""
    name = str(value).upper()
    return name if name in _RETRIED else ""


def _enforced(outliers: Settings, name: str) -> UInt32Value:
    if outliers.get(name) is None:
        return UInt32Value(value=0)
    share = _whole(_object(outliers, name).get("enforcementPercentage"))
    return UInt32Value(value=100 if share is None else share)


def _policies(value: object) -> Iterator[tuple[str, Settings]]:
    for entry in _objects(value):
        yield from ((name, _object(entry, name)) for name in entry)


def _object(settings: Settings, name: str) -> Settings:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}


def _objects(value: object) -> list[Settings]:
    return [one for one in _items(value) if isinstance(one, dict)]


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _whole(value: object) -> int | None:
    """Return a whole number, which protobuf's JSON mapping lets be a string."""
    return None if value is None else int(float(str(value)))


def _number(value: object) -> UInt32Value | None:
    whole = _whole(value)
    return None if whole is None else UInt32Value(value=whole)


def _duration(value: object) -> Duration | None:
    if not isinstance(value, str):
        return None
    duration = Duration()
    duration.FromJsonString(value)
    return duration
