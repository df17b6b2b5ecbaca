"""Sessions against a model of a client, which knows only what the protocol says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lookaside.api.xds.resource import UNKNOWN, Absent, Outcome, Resource, Response, Type
from lookaside.api.xds.session import Ask, Delta, Session, StateOfTheWorld

NAMES = ("a", "b", "c")
GONE = Absent("not known", 5)
WHOLE = [Type.CLUSTER, Type.LISTENER]
SINGLE = [Type.ENDPOINTS, Type.ROUTE]

names = st.sampled_from(NAMES)
kinds = st.sampled_from(list(Type))


class World:
    """What is known: by name, the body of its resources.

    "" is a name that there is not, "?" one of which that can't be told; one that is missing has
    not been looked at yet.
    """

    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}

    def look(self, kind: Type, name: str) -> Outcome:
        body = self.bodies.get(name)
        if body is None or body == "?":
            return UNKNOWN if body else None
        return Resource(kind, name, f"{kind.name} {body}".encode()) if body else GONE


def sent(session: Session, world: World) -> list[Response]:
    """Return all that a session has to send."""
    found = []
    while (response := session.next(world.look)) is not None:
        found.append(response)
        assert len(found) < 100
    return found


def told(responses: list[Response]) -> list[tuple[Type, list[str], list[str]]]:
    return [
        (one.kind, [each.name for each in one.resources], [name for name, _ in one.absent])
        for one in responses
    ]


def world(**bodies: str) -> World:
    made = World()
    made.bodies = dict(bodies)
    return made


class Client(RuleBasedStateMachine):
    """A client of state of the world, on a stream that may be slow.

    It forgets what it no longer asks for, and takes what a response of listeners or clusters lacks
    for gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.session = StateOfTheWorld()
        self.wanted: dict[Type, tuple[str, ...]] = dict.fromkeys(Type, ())
        self.has: dict[Type, dict[str, str]] = {kind: {} for kind in Type}
        self.nonces = dict.fromkeys(Type, "")

    @rule(name=names, body=st.sampled_from(["", "?", "1", "2", "3"]))
    def change(self, name: str, body: str) -> None:
        self.world.bodies[name] = body
        self.session.mark(name)

    @rule(kind=kinds, chosen=st.lists(names, min_size=1, unique=True))
    def subscribe(self, kind: Type, chosen: list[str]) -> None:
        self.ask(kind, tuple(chosen))

    @precondition(lambda self: any(self.wanted.values()))
    @rule(kind=kinds)
    def unsubscribe(self, kind: Type) -> None:
        if self.wanted[kind]:
            self.ask(kind, ())

    @rule()
    def read_one(self) -> None:
        response = self.session.next(self.world.look)
        if response is not None:
            self.take(response)

    @rule(refuse=st.booleans())
    def read_all(self, refuse: bool) -> None:
        for response in sent(self.session, self.world):
            self.take(response, refuse=refuse)
        self.agree()

    def ask(self, kind: Type, wanted: tuple[str, ...]) -> None:
        self.wanted[kind] = wanted
        self.has[kind] = {name: v for name, v in self.has[kind].items() if name in wanted}
        change = self.session.ask(Ask(kind, wanted, nonce=self.nonces[kind]))
        assert not change.refused

    def take(self, response: Response, *, refuse: bool = False) -> None:
        kind = response.kind
        got = {one.name: one.version for one in response.resources}
        # Nothing comes that wasn't asked for, and endpoints and routes come alone.
        assert got.keys() <= set(self.wanted[kind])
        assert len(got) == 1 or kind.whole
        self.nonces[kind] = response.nonce
        # Nothing is said to be gone of which that can't be told.
        lost = self.has[kind].keys() - got.keys() if kind.whole else ()
        assert not [name for name in lost if self.world.bodies.get(name) == "?"]
        self.has[kind] = got if kind.whole else self.has[kind] | got
        refusal = "no" if refuse else ""
        change = self.session.ask(
            Ask(kind, self.wanted[kind], nonce=response.nonce, refusal=refusal)
        )
        assert set(change.refused) == (set(got) if refuse else set())

    def agree(self) -> None:
        """Once all is read, the client has what there is. It may keep endpoints that are gone."""
        for kind in Type:
            known = {name: self.world.look(kind, name) for name in self.wanted[kind]}
            if kind.whole and None in known.values():
                continue
            if kind.whole and UNKNOWN in known.values():
                # What it had stays, and it may not hear of the others.
                continue
            for name, outcome in known.items():
                if isinstance(outcome, Resource):
                    assert self.has[kind][name] == outcome.version
                elif kind.whole:
                    assert name not in self.has[kind]

    @invariant()
    def memory_is_bounded(self) -> None:
        for kind in Type:
            state = self.session._types[kind]
            assert len(state.unanswered) <= len(NAMES) + 1
            assert state.sent.keys() <= set(self.wanted[kind])
            assert state.marked.keys() <= set(self.wanted[kind])


class DeltaClient(RuleBasedStateMachine):
    """A client of the delta variant, which may reconnect with what it has."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.wildcard = False
        self.connect()

    def connect(self) -> None:
        self.session = Delta(NAMES[:2])
        self.wanted: dict[Type, set[str]] = {kind: set() for kind in Type}
        self.has: dict[Type, dict[str, str]] = {kind: {} for kind in Type}
        self.asked: set[Type] = set()

    @initialize(wildcard=st.booleans())
    def begin(self, wildcard: bool) -> None:
        self.wildcard = wildcard
        self.ask_for_all()

    def ask_for_all(self) -> None:
        if self.wildcard:
            for kind in WHOLE:
                self.session.ask(Ask(kind, held=self.has[kind]))
                self.wanted[kind] = set(NAMES[:2])
                self.asked.add(kind)

    @rule(name=names, body=st.sampled_from(["", "?", "1", "2", "3"]))
    def change(self, name: str, body: str) -> None:
        self.world.bodies[name] = body
        self.session.mark(name)

    @rule(kind=kinds, name=names)
    def subscribe(self, kind: Type, name: str) -> None:
        if self.wildcard and kind.whole:
            return
        # What is asked for again may have been forgotten.
        self.has[kind].pop(name, None)
        self.wanted[kind].add(name)
        self.session.ask(Ask(kind, (name,)))
        self.asked.add(kind)

    @rule(kind=kinds, name=names)
    def unsubscribe(self, kind: Type, name: str) -> None:
        if kind not in self.asked or (self.wildcard and kind.whole):
            return
        self.has[kind].pop(name, None)
        self.wanted[kind].discard(name)
        self.session.ask(Ask(kind, dropped=(name,)))

    @rule()
    def reconnect(self) -> None:
        wanted, has = self.wanted, self.has
        self.connect()
        self.has = has
        self.ask_for_all()
        for kind, chosen in wanted.items():
            if chosen and kind not in self.asked:
                held = {name: v for name, v in has[kind].items() if name in chosen}
                self.session.ask(Ask(kind, tuple(sorted(chosen)), held=held))
                self.wanted[kind] = chosen
                self.asked.add(kind)

    @rule()
    def read_all(self) -> None:
        for response in sent(self.session, self.world):
            kind = response.kind
            assert len(response.resources) + len(response.absent) <= 1 or kind != Type.ENDPOINTS
            for one in response.resources:
                assert one.name in self.wanted[kind]
                # Nothing is sent that the client has.
                assert self.has[kind].get(one.name) != one.version
                self.has[kind][one.name] = one.version
            for name, _ in response.absent:
                self.has[kind].pop(name, None)
            self.session.ask(Ask(kind, nonce=response.nonce))
        for kind in Type:
            known = {name: self.world.look(kind, name) for name in self.wanted[kind]}
            if self.wildcard and kind.whole and None in known.values():
                continue
            versions = {n: one.version for n, one in known.items() if isinstance(one, Resource)}
            unknown = {name for name, one in known.items() if one in (None, UNKNOWN)}
            has = {n: version for n, version in self.has[kind].items() if n not in unknown}
            assert has == versions


TestStateOfTheWorld = Client.TestCase
TestDelta = DeltaClient.TestCase
for _machine in (TestStateOfTheWorld, TestDelta):
    _machine.settings = settings(max_examples=60, stateful_step_count=25)


@pytest.mark.parametrize("variant", [StateOfTheWorld, Delta])
@pytest.mark.parametrize("kind", Type)
def test_what_is_asked_for_is_sent_once(variant: type[Session], kind: Type) -> None:
    session = variant()
    session.ask(Ask(kind, ("a",)))
    known = world(a="1")
    assert told(sent(session, known)) == [(kind, ["a"], [])]
    session.mark("a")
    assert not sent(session, known)


@pytest.mark.parametrize("variant", [StateOfTheWorld, Delta])
def test_clusters_come_before_their_endpoints_and_listeners_before_their_routes(
    variant: type[Session],
) -> None:
    session = variant()
    for kind in reversed(Type):
        session.ask(Ask(kind, ("a",)))
    kinds = [response.kind for response in sent(session, world(a="1"))]
    assert kinds == [Type.CLUSTER, Type.ENDPOINTS, Type.LISTENER, Type.ROUTE]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_name_that_is_not_known_is_left_out_of_the_state_of_the_world(kind: Type) -> None:
    session = StateOfTheWorld()
    session.ask(Ask(kind, ("a", "b")))
    known = world(a="1", b="")
    assert told(sent(session, known)) == [(kind, ["a"], ["b"])]
    known.bodies["b"] = "1"
    session.mark("b")
    assert told(sent(session, known)) == [(kind, ["a", "b"], [])]


@pytest.mark.parametrize("kind", SINGLE)
def test_no_answer_says_that_endpoints_or_routes_are_not_there(kind: Type) -> None:
    session = StateOfTheWorld()
    session.ask(Ask(kind, ("a",)))
    known = world(a="")
    assert not sent(session, known)
    known.bodies["a"] = "1"
    session.mark("a")
    assert told(sent(session, known)) == [(kind, ["a"], [])]


@pytest.mark.parametrize("kind", Type)
def test_a_name_that_is_not_known_is_removed_by_a_delta(kind: Type) -> None:
    session = Delta()
    session.ask(Ask(kind, ("a",)))
    assert told(sent(session, world(a=""))) == [(kind, [], ["a"])]


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_name_of_which_nothing_can_be_told_holds_up_a_client_that_may_have_it(
    kind: Type, resumed: bool
) -> None:
    session = StateOfTheWorld()
    session.ask(Ask(kind, ("a", "b"), resumed=resumed))
    known = world(a="1", b="?")
    assert told(sent(session, known)) == ([] if resumed else [(kind, ["a"], [])])
    known.bodies["b"] = "1"
    session.mark("b")
    assert told(sent(session, known)) == [(kind, ["a", "b"], [])]
    known.bodies |= {"a": "2", "b": "?"}
    session.mark("a")
    session.mark("b")
    # It has been sent b, which a response without it would take away.
    assert not sent(session, known)


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_missing_counts_as_gone_and_so_nothing_is_sent_without_what_is_not_known_yet(
    kind: Type,
) -> None:
    session = StateOfTheWorld()
    session.ask(Ask(kind, ("a", "b")))
    known = world(a="1")
    assert not sent(session, known)
    known.bodies["b"] = ""
    session.mark("b")
    assert told(sent(session, known)) == [(kind, ["a"], ["b"])]


@pytest.mark.parametrize("variant", [StateOfTheWorld, Delta])
@pytest.mark.parametrize("kind", Type)
def test_what_was_given_up_is_sent_again_when_it_is_asked_for_again(
    variant: type[Session], kind: Type
) -> None:
    session = variant()
    session.ask(Ask(kind, ("a", "b")))
    known = world(a="1", b="1")
    nonce = sent(session, known)[-1].nonce
    if variant is Delta:
        session.ask(Ask(kind, dropped=("a",), nonce=nonce))
        session.ask(Ask(kind, ("a",)))
    else:
        session.ask(Ask(kind, ("b",), nonce=nonce))
        session.ask(Ask(kind, ("a", "b"), nonce=nonce))
    assert any("a" in there for _, there, _ in told(sent(session, known)))


@pytest.mark.parametrize("kind", WHOLE)
def test_no_names_at_first_ask_for_all_and_after_a_name_for_none(kind: Type) -> None:
    session = StateOfTheWorld(["a", "b"])
    session.ask(Ask(kind))
    known = world(a="1", b="1", c="1")
    assert told(sent(session, known)) == [(kind, ["a", "b"], [])]
    session.ask(Ask(kind, ("c",)))
    assert told(sent(session, known)) == [(kind, ["c"], [])]
    assert session.ask(Ask(kind)).removed == ("c",)
    assert not sent(session, known)


@pytest.mark.parametrize("variant", [StateOfTheWorld, Delta])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_client_that_asks_for_all_is_told_that_there_is_nothing(
    variant: type[Session], kind: Type
) -> None:
    session = variant()
    session.ask(Ask(kind))
    assert told(sent(session, world())) == [(kind, [], [])]


@pytest.mark.parametrize("variant", [StateOfTheWorld, Delta])
@pytest.mark.parametrize("kind", SINGLE)
def test_nobody_can_ask_for_all_endpoints_or_routes(variant: type[Session], kind: Type) -> None:
    session = variant(["a"])  # type: ignore[call-arg]
    session.ask(Ask(kind, ("*",)))
    session.ask(Ask(kind))
    assert not sent(session, world(a="1"))


@pytest.mark.parametrize("kind", WHOLE)
def test_a_client_that_comes_back_is_told_what_has_gone_meanwhile(kind: Type) -> None:
    session = Delta(["a", "b"])
    known = world(a="1", b="2")
    held = {"a": Resource(kind, "a", f"{kind.name} 1".encode()).version, "b": "old", "c": "old"}
    session.ask(Ask(kind, held=held))
    assert told(sent(session, known)) == [(kind, ["b"], ["c"])]


@pytest.mark.parametrize("variant", [StateOfTheWorld, Delta])
@pytest.mark.parametrize("kind", Type)
def test_what_a_client_refuses_is_not_sent_again_until_it_changes(
    variant: type[Session], kind: Type
) -> None:
    session = variant()
    session.ask(Ask(kind, ("a",)))
    known = world(a="1")
    (response,) = sent(session, known)
    names = () if variant is Delta else ("a",)
    assert session.ask(Ask(kind, names, nonce=response.nonce, refusal="bad")).refused == ("a",)
    # The same answer a second time is of no response.
    assert not session.ask(Ask(kind, names, nonce=response.nonce, refusal="bad")).refused
    session.mark("a")
    assert not sent(session, known)
    known.bodies["a"] = "2"
    session.mark("a")
    assert told(sent(session, known)) == [(kind, ["a"], [])]


@given(st.lists(names, unique=True, min_size=1), st.lists(st.tuples(names, st.text(max_size=3))))
def test_a_slow_stream_gets_the_newest_state_alone(
    wanted: list[str], changes: list[tuple[str, str]]
) -> None:
    for session in (StateOfTheWorld(), Delta()):
        session.ask(Ask(Type.ENDPOINTS, tuple(wanted)))
        known = world()
        for name, body in changes:
            known.bodies[name] = body
            session.mark(name)
        responses = sent(session, known)
        assert len(responses) <= len(wanted)
        for response in responses:
            for one in response.resources:
                outcome = known.look(Type.ENDPOINTS, one.name)
                assert isinstance(outcome, Resource)
                assert outcome.version == one.version
