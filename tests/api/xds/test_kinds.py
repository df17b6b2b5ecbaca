"""Who a client is, by what its node says."""

import pytest

from lookaside._pb.xds import core_pb2
from lookaside.api.xds.kinds import ClientKind, client, kind_of
from lookaside.policy.topology import ANYWHERE, Place
from tests.api.xds.raw import node


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        ("gRPC C-core linux", ClientKind.CORE),
        ("gRPC Go", ClientKind.GO),
        ("gRPC Java", ClientKind.JAVA),
        ("grpc-node-xds", ClientKind.NODE),
        ("envoy", ClientKind.ENVOY),
        ("", ClientKind.OTHER),
        ("gRPC", ClientKind.OTHER),
        ("my envoy", ClientKind.OTHER),
    ],
)
def test_what_a_client_is_built_of_is_told_by_its_user_agent(agent: str, kind: ClientKind) -> None:
    assert kind_of(agent) is kind


def test_the_zone_of_the_locality_comes_before_that_of_the_metadata() -> None:
    assert client(node(in_zone="a", zone="b", node="n")).place == Place("a", "n")
    assert client(node(zone="b")).place == Place("b")


def test_an_empty_node_is_of_no_kind_and_nowhere() -> None:
    found = client(core_pb2.Node())
    assert (found.kind, found.place, found.services) == (ClientKind.OTHER, ANYWHERE, ())


def test_what_is_listened_for_is_listed_too_unless_its_port_is_none() -> None:
    said = core_pb2.Node()
    ports: dict[str, float | str] = {"a": 80, "b": 0, "c": 70_000, "d": "80", "f": float("nan")}
    said.metadata.update({"lookaside.dev/services": ["e"], "lookaside.dev/listeners": ports})
    found = client(said)
    assert set(found.services) == {"a", "b", "c", "d", "e", "f"}
    assert found.listeners == {"a": 80}


def test_the_services_are_listed_once_each_and_what_is_no_text_is_passed_over() -> None:
    said = core_pb2.Node()
    said.metadata.update(
        {"lookaside.dev/services": ["a", "b", "a", 7, ""], "lookaside.dev/zone": 3}
    )
    found = client(said)
    assert (found.services, found.place) == (("a", "b"), ANYWHERE)
