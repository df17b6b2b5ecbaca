import pytest
from google.protobuf.message import DecodeError

from client_resolver._pb import lookaside_pb2
from client_resolver.core.delta import Delta
from client_resolver.core.model import ListState, Revision, ServerList, SetAside
from client_resolver.resolver.messages import read


def server_list(message: lookaside_pb2.WatchServersResponse) -> ServerList:
    found = read(message.SerializeToString())
    assert isinstance(found, ServerList)
    return found


def test_a_message_is_read() -> None:
    message = lookaside_pb2.WatchServersResponse(
        servers=[
            lookaside_pb2.Server(
                address="10.0.0.1:80",
                weight=50,
                metadata={"version": "v2"},
                locality=lookaside_pb2.Locality(zone="eu-1a", node="n1"),
            )
        ],
        revision=lookaside_pb2.Revision(digest="ab", version=7, epoch="e"),
        state=lookaside_pb2.STATE_STALE,
        service_config="{}",
    )
    found = server_list(message)
    (endpoint,) = found.endpoints
    assert endpoint.address.text == "10.0.0.1:80"
    assert (endpoint.weight, endpoint.zone, endpoint.node) == (50, "eu-1a", "n1")
    assert endpoint.metadata == (("version", "v2"),)
    assert found.state is ListState.STALE
    assert found.revision == Revision("ab", 7, "e")
    assert found.service_config == "{}"


def test_a_delta_is_read_with_its_addresses_in_one_form() -> None:
    message = lookaside_pb2.WatchServersResponse(
        servers=[lookaside_pb2.Server(address="10.0.0.1:80", weight=5)],
        revision=lookaside_pb2.Revision(digest="b", version=7, epoch="e"),
        delta=lookaside_pb2.Delta(base="a", removed=["[0:0::1]:80", "bad"]),
    )
    found = read(message.SerializeToString())
    assert isinstance(found, Delta)
    assert (found.base, found.removed) == ("a", ("[::1]:80", "bad"))
    assert [endpoint.weight for endpoint in found.changed.endpoints] == [5]
    assert found.changed.revision == Revision("b", 7, "e")


def test_what_is_malformed_is_set_aside_with_its_reason() -> None:
    servers = [("10.0.0.1:80", 1), ("bad", 1), ("10.0.0.2:80", -1), ("10.0.0.1:80", 9)]
    message = lookaside_pb2.WatchServersResponse(
        servers=[lookaside_pb2.Server(address=a, weight=w) for a, w in servers]
    )
    found = server_list(message)
    assert [endpoint.weight for endpoint in found.endpoints] == [1]
    assert found.set_aside == (
        SetAside("bad", "'bad' is not HOST:PORT"),
        SetAside("10.0.0.2:80", "'10.0.0.2:80' has the negative weight -1"),
        SetAside("10.0.0.1:80", "'10.0.0.1:80' is listed twice"),
    )


def test_the_list_of_an_old_balancer_is_taken_as_it_is() -> None:
    found = server_list(lookaside_pb2.WatchServersResponse())
    assert found.state is ListState.UNSPECIFIED
    assert found.revision == Revision()


def test_a_state_of_a_newer_balancer_is_no_error() -> None:
    message = lookaside_pb2.WatchServersResponse()
    message.MergeFromString(b"\x18\x63")
    assert server_list(message).state is ListState.UNSPECIFIED


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(DecodeError):
        read(b"\xff\xff")
