"""Weights by annotations of Services and EndpointSlices, without the right to see Pods."""

from typing import Final

from lookaside._pb import lookaside_pb2 as pb
from tests.cluster.balancer import Balancer, weights
from tests.cluster.handmade import body, catch_up, endpoint
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import Namespace
from tests.cluster.watches import Watch

WEIGHT: Final = "lookaside.dev/weight"
WEIGHTS: Final = "lookaside.dev/weights"


def test_an_endpoint_weighs_100_unless_something_says_otherwise(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    catch_up(balancer, namespace)
    assert weights(balancer.get(f"greeter.{namespace.name}")) == {"192.0.2.1:50051": 100}


def test_the_annotation_of_a_slice_weighs_its_endpoints(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]), annotations={WEIGHT: "50"})
    namespace.slice("greeter-2", "greeter", body(["192.0.2.2"]), annotations={WEIGHT: "0"})
    namespace.slice("greeter-3", "greeter", body(["192.0.2.3"]))
    name = f"greeter.{namespace.name}"
    catch_up(balancer, namespace)
    with Watch(balancer, name) as watch:
        # With weight 0 it is listed all the same, so that clients end their calls to it in peace.
        wanted = {"192.0.2.1:50051": 50, "192.0.2.2:50051": 0, "192.0.2.3:50051": 100}
        watch.wait(lambda message: weights(message) == wanted)
        namespace.annotate("slice", "greeter-2", WEIGHT, "1000000")
        wanted["192.0.2.2:50051"] = 1_000_000
        watch.wait(lambda message: weights(message) == wanted)
        namespace.annotate("slice", "greeter-1", WEIGHT, None)
        wanted["192.0.2.1:50051"] = 100
        watch.wait(lambda message: weights(message) == wanted)
    origins = [each.weight_origin for each in balancer.explain(name).endpoints]
    assert origins == ["default", f"EndpointSlice annotation {WEIGHT}", "default"]


def test_the_rules_of_a_service_weigh_zones_and_nodes(
    balancer: Balancer, control_plane: ControlPlane, namespace: Namespace
) -> None:
    rules = "- {node: node-1, weight: 7}\n- {zone: zone-a, weight: 20}\n- {zone: zone-b, weight: 0}"
    namespace.service("greeter", selector={}, annotations={WEIGHTS: rules})
    endpoints = [
        endpoint("192.0.2.1", zone="zone-a", nodeName="node-1"),
        endpoint("192.0.2.2", zone="zone-a", nodeName="node-2"),
        endpoint("192.0.2.3", zone="zone-b"),
        endpoint("192.0.2.4", zone="zone-c"),
        endpoint("192.0.2.5"),
    ]
    # What a rule says goes before what the slice says.
    namespace.slice("greeter-1", "greeter", body(endpoints), annotations={WEIGHT: "50"})
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert list(weights(balancer.get(name)).values()) == [7, 20, 0, 50, 50]
    told = balancer.explain(name).endpoints
    assert told[0].weight_origin == f"Service annotation {WEIGHTS} (node node-1)"
    assert told[2].reason == "ready; weight 0: no new requests"
    assert told[3].weight_origin == f"EndpointSlice annotation {WEIGHT}"
    with Watch(balancer, name) as watch:
        namespace.annotate("service", "greeter", WEIGHTS, '[{"weight": 1}]')
        watch.wait(lambda message: set(weights(message).values()) == {1})


def test_a_bad_weight_of_a_slice_is_refused_and_the_last_good_one_stays(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]), annotations={WEIGHT: "50"})
    namespace.slice("greeter-2", "greeter", body(["192.0.2.2"]), annotations={WEIGHT: "heavy"})
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    # What has never been good is as if it were not there.
    assert list(weights(balancer.get(name)).values()) == [50, 100]
    before = _refused(balancer, "EndpointSlice", WEIGHT)
    assert before >= 1

    namespace.annotate("slice", "greeter-1", WEIGHT, "-1")
    catch_up(balancer, namespace)
    assert list(weights(balancer.get(name)).values()) == [50, 100]
    assert _refused(balancer, "EndpointSlice", WEIGHT) == before + 1
    assert _notes(balancer.explain(name)) == [
        f"EndpointSlice {namespace.name}/greeter-{number}: annotation {WEIGHT} is refused: "
        f"{value!r} is not a whole number from 0 to 1000000"
        for number, value in [(1, "-1"), (2, "heavy")]
    ]
    assert balancer.command("explain", name).stdout.count("is refused") == 2

    # Its endpoints change, and the annotation still is bad: the good value stays.
    namespace.set_endpoints("greeter-1", [endpoint("192.0.2.1"), endpoint("192.0.2.3")])
    message = balancer.wait(name, lambda message: len(message.servers) == 3)
    assert list(weights(message).values()) == [50, 100, 50]
    assert _refused(balancer, "EndpointSlice", WEIGHT) == before + 1

    namespace.annotate("slice", "greeter-1", WEIGHT, "60")
    namespace.annotate("slice", "greeter-2", WEIGHT, "70")
    balancer.wait(name, lambda message: list(weights(message).values()) == [60, 70, 60])
    assert not _notes(balancer.explain(name))


def test_bad_rules_of_a_service_are_refused_and_the_last_good_ones_stay(
    balancer: Balancer, namespace: Namespace
) -> None:
    rules = "[{zone: zone-a, weight: 10}]"
    namespace.service("greeter", selector={}, annotations={WEIGHTS: rules})
    endpoints = [endpoint("192.0.2.1", zone="zone-a"), endpoint("192.0.2.2")]
    namespace.slice("greeter-1", "greeter", body(endpoints))
    catch_up(balancer, namespace)
    name = f"greeter.{namespace.name}"
    assert list(weights(balancer.get(name)).values()) == [10, 100]
    before = _refused(balancer, "Service", WEIGHTS)
    for number, bad in enumerate(
        ["[{zone: zone-a, wait: 10}]", "[{weight: 1000001}]", "not a list", "[{zone: a"], start=1
    ):
        namespace.annotate("service", "greeter", WEIGHTS, bad)
        catch_up(balancer, namespace)
        assert list(weights(balancer.get(name)).values()) == [10, 100], bad
        [note] = _notes(balancer.explain(name))
        assert f"Service {namespace.name}/greeter: annotation {WEIGHTS} is refused" in note
        assert _refused(balancer, "Service", WEIGHTS) == before + number
    told = balancer.log("annotation refused", object=f"{namespace.name}/greeter")
    # The log has the first at once and further ones once a minute; the metric has each.
    assert "wait" in told[0]["reason"]
    assert len(told) < 4, told
    namespace.annotate("service", "greeter", WEIGHTS, None)
    balancer.wait(name, lambda message: list(weights(message).values()) == [100, 100])


def _notes(explained: pb.ExplainResponse) -> list[str]:
    return list(explained.notes)


def _refused(balancer: Balancer, kind: str, annotation: str) -> float:
    name = "lookaside_refused_annotations_total"
    return balancer.metric(name, kind=kind, annotation=annotation)
