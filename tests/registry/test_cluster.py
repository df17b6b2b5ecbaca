from lookaside.model import ServiceKey, ServicePort
from lookaside.registry.cluster import Cluster
from lookaside.registry.slices import Service, Slice, SliceEndpoint, SlicePort

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
