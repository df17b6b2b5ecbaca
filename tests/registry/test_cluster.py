import gc
from itertools import chain

import pytest

from lookaside.model import ServiceKey, ServicePort
from lookaside.registry.cluster import Cluster
from lookaside.registry.inputs import MergeOptions
from lookaside.registry.slices import Pod, Service, Slice, SliceEndpoint, SlicePort
from lookaside.registry.steps import finish

GREETER, OTHER = ServiceKey("shop", "greeter"), ServiceKey("shop", "other")
PORTS = (SlicePort("", 50051),)


def service(key: ServiceKey = GREETER, number: int = 80) -> Service:
    return Service(key, (ServicePort("", number),))


def a_slice(name: str, *addresses: str, key: ServiceKey = GREETER) -> Slice:
    return Slice(key, name, "IPv4", PORTS, tuple(map(SliceEndpoint, addresses)))


def touched(cluster: Cluster) -> dict[str, list[str] | None]:
    return {
        str(key): None if record is None else [one.address for one in record.endpoints[""]]
        for key, record in cluster.touched().items()
    }


def test_a_service_and_its_slices_come_in_any_order() -> None:
    cluster = Cluster()
    cluster.set_slice(a_slice("a", "10.0.0.1"))
    assert touched(cluster) == {"greeter.shop": None}
    cluster.set_service(service())
    assert touched(cluster) == {"greeter.shop": ["10.0.0.1"]}
    assert touched(cluster) == {}


def test_what_is_the_same_touches_nothing() -> None:
    cluster = Cluster()
    cluster.set_service(service())
    cluster.set_slice(a_slice("a", "10.0.0.1"))
    cluster.touched()
    cluster.set_service(service())
    cluster.set_slice(a_slice("a", "10.0.0.1"))
    cluster.replace_services([service()])
    cluster.replace_slices([a_slice("a", "10.0.0.1")])
    assert touched(cluster) == {}


def test_a_pod_that_moves_to_another_slice_survives_the_update_of_the_old_one() -> None:
    cluster = Cluster()
    cluster.set_service(service())
    cluster.set_slice(a_slice("a", "10.0.0.1", "10.0.0.2"))
    cluster.set_slice(a_slice("b", "10.0.0.2"))
    cluster.set_slice(a_slice("a", "10.0.0.1"))
    assert touched(cluster) == {"greeter.shop": ["10.0.0.1", "10.0.0.2"]}


def test_a_slice_that_changes_its_service_leaves_the_old_one() -> None:
    cluster = Cluster()
    cluster.replace_services([service(), service(OTHER)])
    cluster.set_slice(a_slice("a", "10.0.0.1"))
    cluster.touched()
    cluster.set_slice(a_slice("a", "10.0.0.1", key=OTHER))
    assert touched(cluster) == {"greeter.shop": [], "other.shop": ["10.0.0.1"]}


def test_slices_of_one_name_in_two_namespaces_are_two() -> None:
    cluster = Cluster()
    elsewhere = ServiceKey("mall", "greeter")
    cluster.replace_services([service(), service(elsewhere)])
    cluster.set_slice(a_slice("a", "10.0.0.1"))
    cluster.set_slice(a_slice("a", "10.0.0.2", key=elsewhere))
    cluster.remove_slice("shop", "a")
    assert touched(cluster) == {"greeter.mall": ["10.0.0.2"], "greeter.shop": []}


def test_removing_what_is_not_there_is_nothing() -> None:
    cluster = Cluster()
    cluster.remove_slice("shop", "a")
    cluster.remove_service(GREETER)
    assert touched(cluster) == {}


def test_a_replacement_takes_away_what_it_has_not() -> None:
    cluster = Cluster()
    cluster.replace_services([service(), service(OTHER)])
    cluster.replace_slices([a_slice("a", "10.0.0.1"), a_slice("b", "10.0.0.2")])
    cluster.touched()
    cluster.replace_slices([a_slice("b", "10.0.0.2")])
    cluster.replace_services([service()])
    assert touched(cluster) == {"greeter.shop": ["10.0.0.2"], "other.shop": None}
    assert [record.key for record in cluster.records()] == [GREETER]


def standing(name: str, *pods: str, key: ServiceKey = GREETER, weight: str = "") -> Slice:
    endpoints = tuple(
        SliceEndpoint(f"10.0.0.{index}", target_name=pod, target_kind="Pod")
        for index, pod in enumerate(pods)
    )
    return Slice(key, name, "IPv4", PORTS, endpoints, weight)


def a_pod(name: str, weight: str = "", uid: str = "u") -> Pod:
    return Pod("shop", name, uid, {"version": name}, weight)


def weights(cluster: Cluster) -> list[int]:
    cluster.touched()
    return [one.weight for record in cluster.records() for one in record.endpoints[""]]


@pytest.fixture(params=[0, 1000], ids=["parts kept", "made anew"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return Cluster(MergeOptions(labels=("version",)), pods=True, large=request.param)


def test_a_pod_touches_the_services_that_it_stands_in_and_no_other(cluster: Cluster) -> None:
    cluster.replace_services([service(), service(OTHER)])
    cluster.replace_slices([standing("a", "p", "q"), standing("b", "p"), a_slice("c", key=OTHER)])
    cluster.touched()
    cluster.set_pod(a_pod("stranger"))
    assert touched(cluster) == {}
    cluster.set_pod(a_pod("p"))
    assert list(touched(cluster)) == ["greeter.shop"]
    cluster.set_pod(a_pod("p"))
    cluster.remove_pod("shop", "nobody")
    assert touched(cluster) == {}
    cluster.remove_pod("shop", "p")
    assert list(touched(cluster)) == ["greeter.shop"]


def test_a_pod_that_stands_nowhere_any_more_touches_nothing(cluster: Cluster) -> None:
    cluster.set_service(service())
    cluster.replace_slices([standing("a", "p"), standing("b", "p")])
    cluster.set_slice(standing("a", "q"))
    cluster.touched()
    cluster.set_pod(a_pod("p"))
    assert list(touched(cluster)) == ["greeter.shop"]
    cluster.remove_slice("shop", "b")
    cluster.touched()
    cluster.set_pod(a_pod("p", "5"))
    assert touched(cluster) == {}


def test_labels_and_weight_of_a_pod_come_and_go_with_it(cluster: Cluster) -> None:
    cluster.set_service(service())
    cluster.set_slice(standing("a", "p", "q"))
    cluster.set_pod(a_pod("p", "5"))
    (record,) = cluster.records()
    assert [one.weight for one in record.endpoints[""]] == [5, 100]
    assert ("version", "p") in record.endpoints[""][0].metadata
    cluster.replace_pods([a_pod("q", "0")])
    assert weights(cluster) == [100, 0]


def test_a_bad_weight_keeps_the_last_good_one_of_its_object_and_is_told_once(
    cluster: Cluster,
) -> None:
    cluster.set_service(service())
    cluster.set_slice(standing("a", "p", "q", weight="20"))
    cluster.set_pod(a_pod("p", "5"))
    assert (weights(cluster), cluster.refused()) == ([5, 20], [])
    cluster.set_slice(standing("a", "p", "q", weight="many"))
    cluster.set_pod(a_pod("p", "few"))
    assert weights(cluster) == [5, 20]
    assert [(refusal.kind, refusal.name) for refusal in cluster.refused()] == [
        ("EndpointSlice", "a"),
        ("Pod", "p"),
    ]
    assert cluster.refused() == []
    cluster.set_pod(a_pod("p", "few", uid="a new Pod of that name"))
    assert weights(cluster) == [20, 20]
    cluster.remove_slice("shop", "a")
    cluster.set_slice(standing("a", "p", "q", weight="many"))
    assert weights(cluster) == [100, 100]


def test_rules_of_a_service_reach_every_endpoint_and_bad_ones_leave_the_last(
    cluster: Cluster,
) -> None:
    def ruled(rules: str) -> Service:
        return Service(GREETER, (ServicePort("", 80),), weights=rules)

    cluster.set_service(ruled("[{labels: {version: q}, weight: 1}]"))
    cluster.set_slice(standing("a", "p", "q"))
    cluster.set_pod(a_pod("q"))
    assert weights(cluster) == [100, 1]
    cluster.set_service(ruled("[{labels: {version: q}, weight: -1}]"))
    assert weights(cluster) == [100, 1]
    (refusal,) = cluster.refused()
    assert str(refusal) == (
        "Service shop/greeter: annotation lookaside.dev/weights is refused: "
        "weight -1 of rule 1 is not 0 to 1000000"
    )
    cluster.set_service(ruled("[{weight: 2}]"))
    assert weights(cluster) == [2, 2]
    cluster.set_service(ruled(""))
    assert weights(cluster) == [100, 100]


def test_a_slice_that_changes_its_service_keeps_its_last_good_weight(cluster: Cluster) -> None:
    cluster.replace_services([service(), service(OTHER)])
    cluster.set_slice(standing("a", "p", weight="20"))
    cluster.set_slice(standing("a", "p", key=OTHER, weight="many"))
    assert weights(cluster) == [20]


def test_a_service_whose_slices_came_to_be_many_says_the_same() -> None:
    small, large = Cluster(), Cluster(large=3)
    for cluster in (small, large):
        cluster.set_service(service())
        for count in (2, 5, 1, 5):
            for index in range(count):
                cluster.set_slice(a_slice(f"s{index}", f"10.0.0.{index}", f"10.0.1.{count}"))
            for index in range(count, 5):
                cluster.remove_slice("shop", f"s{index}")
            expected = sorted({f"10.0.0.{index}" for index in range(count)} | {f"10.0.1.{count}"})
            assert touched(cluster) == {"greeter.shop": expected}


def test_slices_that_name_a_service_which_is_not_there_are_told() -> None:
    cluster = Cluster()
    assert cluster.absence(GREETER) == ""
    for name in ("a", "b", "c", "d", "e"):
        cluster.set_slice(a_slice(name, "10.0.0.1"))
    assert cluster.absence(GREETER) == (
        "EndpointSlices a, b, c and 2 more name it, but there is no such Service"
    )
    cluster.replace_slices([a_slice("a", "10.0.0.1")])
    assert cluster.absence(GREETER) == ("EndpointSlice a names it, but there is no such Service")
    cluster.set_service(service())
    assert cluster.absence(GREETER) == ""


def test_records_are_not_tracked_by_the_cyclic_collector() -> None:
    cluster = Cluster()
    one, two = service(), a_slice("a", "10.0.0.1")
    cluster.replace_services([one])
    cluster.replace_slices([two])
    (record,) = cluster.records()
    # A collection goes through all that it tracks, in one go.
    records = (one, two, two.endpoints[0], record, record.endpoints[""][0], record.explainer)
    assert [gc.is_tracked(each) for each in records] == [False] * 6


def test_a_pod_may_change_while_the_slices_that_it_stands_in_are_listed() -> None:
    cluster = Cluster(pods=True)
    cluster.replace_services([service()])
    steps = cluster.replacing_slices([standing("a", "p")])
    next(steps)
    cluster.set_pod(a_pod("p", "7"))
    finish(steps)
    (record,) = cluster.records()
    assert [one.weight for one in record.endpoints[""]] == [7]


def test_what_a_service_has_of_its_slices_changes_in_one_step_of_a_list() -> None:
    cluster = Cluster()
    cluster.replace_services([service(), service(OTHER)])
    before = [a_slice("a", "10.0.0.1"), a_slice("b"), a_slice("c", "10.0.0.3", key=OTHER)]
    cluster.replace_slices(before)
    cluster.touched()
    # An endpoint moves, and so does a slice.
    steps = cluster.replacing_slices(
        [a_slice("a"), a_slice("b", "10.0.0.1"), a_slice("c", "10.0.0.3")]
    )
    seen = {GREETER: {"10.0.0.1"}, OTHER: {"10.0.0.3"}}
    for _ in chain(steps, (0,)):
        for key, record in cluster.touched().items():
            assert record is not None
            seen[key] = {one.address for one in record.endpoints[""]}
        assert "10.0.0.1" in seen[GREETER]
    assert seen == {GREETER: {"10.0.0.1", "10.0.0.3"}, OTHER: set()}
