from dataclasses import replace
from hashlib import sha256
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from client_resolver.core.address import parse_address
from client_resolver.core.backoff import FullJitter
from client_resolver.core.delta import Delta
from client_resolver.core.model import Code, Endpoint, ListState, Revision, ServerList, SetAside
from client_resolver.core.watch import Watch

ADDRESSES = (
    *("10.0.0.1:80", "10.0.0.1:9", "10.0.0.1:443", "10.0.0.10:80", "10.0.0.2:80"),
    *("[2001:db8::1]:80", "[::1]:80", "a.example:80", "bad"),
)


def test_a_delta_replaces_removes_and_adds_in_the_order_of_host_and_port() -> None:
    base = listed({"10.0.0.1:80": 1, "10.0.0.1:443": 1, "10.0.0.2:80": 1}, 1)
    changed = listed({"10.0.0.1:9": 1, "10.0.0.1:443": 5}, 2)
    found = Delta("x", changed, ("10.0.0.2:80",)).apply(base)
    assert [(e.address.text, e.weight) for e in found.endpoints] == [
        ("10.0.0.1:9", 1),
        ("10.0.0.1:80", 1),
        ("10.0.0.1:443", 5),
    ]
    assert found.revision == changed.revision


def test_a_server_that_turns_bad_leaves_and_one_that_turns_good_comes_back() -> None:
    good = listed({"10.0.0.1:80": 1, "10.0.0.2:80": 1}, 1)
    worse = Delta("x", listed({"10.0.0.1:80": -1}, 2)).apply(good)
    assert [e.address.text for e in worse.endpoints] == ["10.0.0.2:80"]
    assert [one.address for one in worse.set_aside] == ["10.0.0.1:80"]
    again = Delta("y", listed({"10.0.0.1:80": 1}, 1)).apply(worse)
    assert again.endpoints == good.endpoints
    assert not again.set_aside


SERVERS = st.dictionaries(st.sampled_from(ADDRESSES), st.integers(-1, 2))
EVENTS = st.one_of(
    st.tuples(st.just("change"), SERVERS, st.sampled_from(ListState)),
    st.tuples(st.just("lag"), SERVERS, st.sampled_from(ListState)),
    st.tuples(st.just("reconnect"), st.booleans(), st.none()),
    st.tuples(st.just("time"), st.none(), st.none()),
)


@given(st.lists(EVENTS, max_size=30))
def test_a_client_with_deltas_holds_exactly_what_one_with_whole_lists_does(
    history: list[tuple[str, object, object]],
) -> None:
    clients = [_watch(), _watch()]
    version, now = 10, 0.0
    on_stream: ServerList | None = None
    known: Revision | None = None
    lists: dict[str, ServerList] = {}
    for what, servers, state in [("reconnect", False, None), *history]:
        now += 1
        if what == "reconnect":
            for client in clients:
                client.lost(Code.OK, "", now)
            _, known = [client.begun(now) for client in clients]
            # A balancer may have forgotten the list that the client knows.
            on_stream = lists[known.digest] if known is not None and servers else None
        elif what == "time":
            now += 20
            assert len({client.expire(now) for client in clients}) == 1
        else:
            assert isinstance(servers, dict)
            assert isinstance(state, ListState)
            version += 1
            message = listed(servers, version if what == "change" else 5, state)
            digest = message.revision.digest
            lists.setdefault(digest, message)
            if on_stream is None or on_stream.revision.digest != digest:
                took = [
                    clients[0].received(message, now),
                    clients[1].received(
                        message if on_stream is None else _diff(on_stream, message), now
                    ),
                ]
                assert took[0] == took[1]
                on_stream = message
        assert clients[0].current == clients[1].current
        assert clients[0].wake_at == clients[1].wake_at


def _watch() -> Watch:
    return Watch("b:1", FullJitter(0.1, 1, Random(1)), 30)


def listed(
    servers: dict[str, int], version: int, state: ListState = ListState.PRESENT
) -> ServerList:
    """A list as it is read from a balancer's message. A weight of -1 stands for a bad server."""
    order = sorted(servers, key=ordered)
    bad = {address for address in order if servers[address] < 0 or address == "bad"}
    digest = sha256(repr((sorted(servers.items()), state)).encode()).hexdigest()
    return ServerList(
        tuple(Endpoint(parse_address(a), servers[a]) for a in order if a not in bad),
        state,
        Revision(digest, version, "e"),
        tuple(SetAside(a, f"{a} is bad") for a in order if a in bad),
        "{}" if len(servers) % 2 else "",
    )


def ordered(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if host else (address, 0)


def _diff(before: ServerList, after: ServerList) -> Delta:
    gone = {e.address.text for e in before.endpoints} | {one.address for one in before.set_aside}
    left = {e.address.text for e in after.endpoints} | {one.address for one in after.set_aside}
    changed = replace(
        after,
        endpoints=tuple(e for e in after.endpoints if e not in before.endpoints),
        set_aside=tuple(one for one in after.set_aside if one not in before.set_aside),
    )
    return Delta(before.revision.digest, changed, tuple(gone - left))
