"""Annotations from the API server to the list, good and bad."""

from structlog.testing import capture_logs

from tests.faults.apiserver import SERVICES, SLICES, annotated, service_json, slice_json, status
from tests.faults.conftest import World

RULES = "[{zone: eu-1a, weight: 5}]"
CONFIG = '{"loadBalancingConfig":[{"round_robin":{}}]}'


async def test_weights_and_policy_come_by_annotation(world: World) -> None:
    world.server.put(SERVICES, annotated(service_json(), service_config=CONFIG))
    world.server.put(SLICES, annotated(slice_json("greeter-1", "10.0.0.1"), weight="7"))
    await world.start_synced()
    assert world.feed.weights == [7]
    assert world.feed.service_config == CONFIG
    world.server.put(SLICES, slice_json("greeter-1", "10.0.0.1"))
    world.server.put(SERVICES, annotated(service_json(), weights="[{weight: 3}]"))
    await world.feed.until(lambda: world.feed.weights == [3])
    assert world.feed.service_config == ""


async def test_a_bad_annotation_is_told_once_and_the_last_good_value_stays(world: World) -> None:
    world.server.put(SLICES, annotated(slice_json("greeter-1", "10.0.0.1"), weight="7"))
    with capture_logs() as logs:
        await world.start_synced()
        for address in ("10.0.0.2", "10.0.0.3", "10.0.0.4"):
            world.server.put(SLICES, annotated(slice_json("greeter-1", address), weight="many"))
            await world.feed.shows(address)
        world.server.compact(SLICES)
        world.server.send_error(SLICES, status(410, "too old"))
        await world.server.until(lambda: world.server.count("stream", resource=SLICES) == 2)
        await world.server.watched()
    assert world.feed.weights == [7]
    assert world.observer.refusals == {("EndpointSlice", "lookaside.dev/weight"): 1}
    [entry] = [entry for entry in logs if entry["event"] == "annotation refused"]
    assert entry["object"] == "default/greeter-1"
    assert entry["reason"] == "'many' is not a whole number from 0 to 1000000"


async def test_each_bad_annotation_of_the_first_list_is_told(world: World) -> None:
    bad = annotated(service_json(), weights="[5", service_config="nonsense")
    world.server.put(SERVICES, bad)
    await world.start_synced()
    assert world.feed.addresses == ["10.0.0.1", "10.0.0.2"]
    assert world.observer.refusals == {
        ("Service", "lookaside.dev/weights"): 1,
        ("Service", "lookaside.dev/service-config"): 1,
    }


async def test_explain_tells_what_was_set_aside(world: World) -> None:
    dns = {"name": "dns", "port": 53, "protocol": "UDP"}
    stored = slice_json("greeter-1", "10.0.0.1", "nowhere")
    stored["ports"].append(dns)
    stored["endpoints"][0]["hints"] = {"forZones": 5}
    version = world.server.put(SLICES, stored)
    await world.start_synced()
    assert world.feed.addresses == ["10.0.0.1"]
    assert world.observer.errors == {"malformed": 2}
    hints = (
        "the hints of 10.0.0.1 are set aside: Expected `array | null`, got `int` - at `$.forZones`"
    )
    explanation = world.feed.explain("grpc")
    [endpoint] = explanation.endpoints
    assert endpoint.resource_version == str(version)
    assert [note for note in explanation.notes if "greeter-1" in note] == [
        f"EndpointSlice greeter-1: {hints}",
        "EndpointSlice greeter-1: an endpoint is set aside: 'nowhere' is not an IPv4 address",
        "EndpointSlice greeter-1: port 'dns' is left out: UDP, and gRPC runs on TCP",
    ]


async def test_a_service_s_udp_ports_are_left_out(world: World) -> None:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "grpc", "port": 80, "protocol": "TCP"},
    ]
    world.server.put(SERVICES, service_json(ports=ports))
    await world.start_synced()
    assert world.feed.ports == ["grpc"]


async def test_hints_come_with_the_list(world: World) -> None:
    stored = slice_json("greeter-1", "10.0.0.1", "10.0.0.2")
    for endpoint, zone in zip(stored["endpoints"], ("a", "b"), strict=True):
        endpoint["hints"] = {"forZones": [{"name": zone}]}
    world.server.put(SLICES, stored)
    await world.start_synced()
    assert [hint.zones for hint in world.feed.hints] == [("a",), ("b",)]
