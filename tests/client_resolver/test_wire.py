from client_resolver._pb import lookaside_pb2
from client_resolver.core.model import ListState, Revision
from client_resolver.wire import server_list


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
    )
    found = server_list(message)
    (endpoint,) = found.endpoints
    assert endpoint.address.text == "10.0.0.1:80"
    assert (endpoint.weight, endpoint.zone, endpoint.node) == (50, "eu-1a", "n1")
    assert endpoint.metadata == (("version", "v2"),)
    assert found.state is ListState.STALE
    assert found.revision == Revision("ab", 7, "e")


def test_what_is_malformed_is_set_aside_with_its_reason() -> None:
    servers = [("10.0.0.1:80", 1), ("bad", 1), ("10.0.0.2:80", -1), ("10.0.0.1:80", 9)]
    message = lookaside_pb2.WatchServersResponse(
        servers=[lookaside_pb2.Server(address=a, weight=w) for a, w in servers]
    )
    found = server_list(message)
    assert [endpoint.weight for endpoint in found.endpoints] == [1]
    assert found.set_aside == (
        "'bad' is not HOST:PORT",
        "'10.0.0.2:80' has the negative weight -1",
        "'10.0.0.1:80' is listed twice",
    )


def test_the_list_of_an_old_balancer_is_taken_as_it_is() -> None:
    found = server_list(lookaside_pb2.WatchServersResponse())
    assert found.state is ListState.UNSPECIFIED
    assert found.revision == Revision()


def test_a_state_of_a_newer_balancer_is_no_error() -> None:
    message = lookaside_pb2.WatchServersResponse()
    message.MergeFromString(b"\x18\x63")
    assert server_list(message).state is ListState.UNSPECIFIED
