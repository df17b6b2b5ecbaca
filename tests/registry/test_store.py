import pytest

from lookaside.errors import (
    AmbiguousPort,
    ExternalNameService,
    InvalidServiceName,
    NotSynced,
    RequestError,
    ServiceNotFound,
)
from lookaside.model import Endpoint, ServiceKey, ServiceName, ServicePort, ServiceRecord, State
from lookaside.registry.snapshots import absent
from lookaside.registry.steps import finish
from lookaside.registry.subscription import Subscription
from tests.registry.conftest import KEY, NAME, World, record, watch, wire


def test_nothing_is_served_before_the_first_sync(world: World) -> None:
    with pytest.raises(NotSynced, match="first list of first, second is still to come"):
        world.store.get(NAME)
    with pytest.raises(NotSynced):
        watch(world)
    with pytest.raises(NotSynced):
        world.store.snapshots()
    world.first.replace([], version=1, epoch="e", at=0)
    with pytest.raises(NotSynced, match="first list of second is"):
        world.store.get(NAME)
    assert world.store.unsynced == ["second"]


def test_why_nothing_is_known_and_why_it_can_not_be_confirmed_is_told(world: World) -> None:
    trouble = "services: forbidden: a ClusterRole needs the rule"
    world.first.follow_trouble(lambda _: trouble)
    world.second.replace([], version=0, epoch="", at=0)
    with pytest.raises(NotSynced, match=f"^the first list of first is still to come: {trouble}$"):
        world.store.get(NAME)
    world.sync(record("10.0.0.1"))
    _, explained = world.store.explain(NAME)
    assert explained.notes[-1] == f"what first knows can't be confirmed just now: {trouble}"
    trouble = ""
    _, explained = world.store.explain(NAME)
    assert not any("confirmed" in note for note in explained.notes)


def test_names_of_a_namespace_of_which_nothing_is_known_are_neither_there_nor_not_there(
    world: World,
) -> None:
    world.first.set_missing({"lost": "services: forbidden"})
    half = record("10.0.0.9", key=ServiceKey("lost", "half"))
    world.sync(record("10.0.0.1"), half)
    why = "nothing is known of namespace lost: first: services: forbidden"
    for name in ("half", "none"):
        with pytest.raises(NotSynced, match=why):
            world.store.get(ServiceName(ServiceKey("lost", name)))
        with pytest.raises(NotSynced, match=why):
            watch(world, ServiceName(ServiceKey("lost", name)))
    with pytest.raises(NotSynced, match=why):
        world.store.snapshots("lost")
    assert [one.service.key for one in world.store.snapshots()] == [KEY]
    world.first.set_missing({})
    assert len(world.store.snapshots()) == 2


def test_a_source_that_comes_first_answers_before_the_others_have_synced(world: World) -> None:
    world.first.replace([record("10.0.0.1")], version=1, epoch="e", at=0)
    assert world.store.get(NAME).snapshot.state is State.PRESENT
    assert world.synced == ["first"]


def test_present_empty_and_absent_are_three_answers(world: World) -> None:
    world.sync(record("10.0.0.1"), record(key=ServiceKey("shop", "idle")))
    assert world.store.get(NAME).snapshot.state is State.PRESENT
    idle = ServiceName(ServiceKey("shop", "idle"))
    assert world.store.get(idle).snapshot.state is State.EMPTY
    with pytest.raises(ServiceNotFound, match=r"service nobody\.shop is not known"):
        world.store.get(ServiceName(ServiceKey("shop", "nobody")))


def test_a_watch_gets_the_list_at_once_and_each_change_once(world: World) -> None:
    world.sync(record("10.0.0.1"))
    subscription = watch(world)
    assert wire(subscription) == "PRESENT 10.0.0.1"
    assert wire(subscription) is None
    world.first.update({KEY: record("10.0.0.1", "10.0.0.2")}, version=11, at=0)
    assert wire(subscription) == "PRESENT 10.0.0.1,10.0.0.2"
    world.first.update({KEY: record("10.0.0.1", "10.0.0.2")}, version=12, at=0)
    world.first.advance(13)
    assert wire(subscription) is None


def test_a_watch_of_an_unknown_service_stays_and_delivers_when_it_appears(world: World) -> None:
    world.sync()
    subscription = watch(world)
    assert wire(subscription) == "ABSENT "
    world.first.update({KEY: record()}, version=11, at=0)
    assert wire(subscription) == "EMPTY "
    world.first.update({KEY: record("10.0.0.1")}, version=12, at=0)
    assert wire(subscription) == "PRESENT 10.0.0.1"
    world.first.update({KEY: None}, version=13, at=0)
    assert wire(subscription) == "ABSENT "


def test_all_watchers_get_the_same_bytes_encoded_once(world: World) -> None:
    world.sync(record("10.0.0.1"))
    subscriptions = [watch(world) for _ in range(100)]
    first = [subscription.take() for subscription in subscriptions]
    assert world.encoder.encoded == 1
    world.first.update({KEY: record("10.0.0.2")}, version=11, at=0)
    second = [subscription.take() for subscription in subscriptions]
    assert world.encoder.encoded == 2
    for outcomes in (first, second):
        assert len({id(outcome) for outcome in outcomes}) == 1


def test_a_slow_reader_gets_the_newest_state_alone(world: World) -> None:
    world.sync(record("10.0.0.1"))
    slow, fast = watch(world), watch(world)
    assert wire(fast) == "PRESENT 10.0.0.1"
    for last in range(2, 6):
        world.first.update({KEY: record(f"10.0.0.{last}")}, version=10 + last, at=0)
        assert wire(fast) == f"PRESENT 10.0.0.{last}"
    assert wire(slow) == "PRESENT 10.0.0.5"
    assert wire(slow) is None
    assert world.observer.overwritten == 4


def test_a_late_answer_carries_the_version_up_to_which_the_list_holds(world: World) -> None:
    world.sync(record("10.0.0.1"))
    assert world.store.get(NAME).whole() == b"PRESENT 10.0.0.1"
    world.first.advance(42)
    published = world.store.get(NAME)
    assert published.snapshot.revision.version == 42
    assert published.whole() == b"PRESENT 10.0.0.1 @42"
    assert wire(watch(world)) == "PRESENT 10.0.0.1 @42"


def test_a_change_orders_its_own_service_and_no_other(world: World) -> None:
    quiet = ServiceKey("shop", "quiet")
    world.sync(record("10.0.0.1"), record("10.0.0.9", key=quiet))

    def versions() -> list[int]:
        names = (NAME, ServiceName(quiet))
        return [world.store.get(name).snapshot.revision.version for name in names]

    assert versions() == [10, 10]
    world.first.update({KEY: record("10.0.0.2")}, version=30, at=0)
    assert versions() == [30, 10]
    world.first.advance(20)
    assert versions() == [30, 20]
    world.first.advance(40)
    assert versions() == [40, 40]


def test_an_absence_holds_up_to_a_version_too(world: World) -> None:
    world.sync(record("10.0.0.1"))
    subscription = watch(world)
    world.first.update({KEY: None}, version=30, at=0)
    revision = absent(subscription.name, world.store.feeds.values()).revision
    assert (revision.version, revision.epoch) == (30, "e")
    world.second.replace([], version=5, epoch="other", at=0)
    revision = absent(subscription.name, world.store.feeds.values()).revision
    assert (revision.version, revision.epoch) == (0, "")


def test_the_digest_depends_on_the_list_alone(world: World) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2"))
    before = world.store.get(NAME).snapshot.revision
    world.first.update({KEY: record("10.0.0.3")}, version=11, at=0)
    between = world.store.get(NAME).snapshot.revision
    world.first.update({KEY: record("10.0.0.2", "10.0.0.1")}, version=12, at=0)
    after = world.store.get(NAME).snapshot.revision
    assert before.digest == after.digest != between.digest
    assert (before.version, after.version) == (10, 12)


def test_a_stale_source_keeps_its_lists_and_says_so(world: World) -> None:
    world.sync(record("10.0.0.1"))
    known, unknown = watch(world), watch(world, ServiceName(ServiceKey("shop", "nobody")))
    assert (wire(known), wire(unknown)) == ("PRESENT 10.0.0.1", "ABSENT ")
    world.first.set_stale(True)
    world.first.set_stale(True)
    assert (wire(known), wire(unknown)) == ("STALE 10.0.0.1", "STALE ")
    assert world.store.get(NAME).snapshot.endpoints == (Endpoint("10.0.0.1", 50051),)
    with pytest.raises(NotSynced, match="not in the last view of a source that was lost"):
        world.store.get(unknown.name)
    world.first.set_stale(False)
    assert (wire(known), wire(unknown)) == ("PRESENT 10.0.0.1", "ABSENT ")
    assert world.observer.stale == [("first", True), ("first", False)]


def test_a_stale_source_leaves_the_lists_of_others_alone(world: World) -> None:
    world.sync()
    world.second.update({KEY: record("10.0.0.1")}, version=0, at=0)
    subscription = watch(world)
    assert wire(subscription) == "PRESENT 10.0.0.1"
    world.first.set_stale(True)
    assert wire(subscription) is None


def test_the_source_named_first_has_a_service_that_both_know(world: World) -> None:
    world.sync()
    subscription = watch(world)
    assert wire(subscription) == "ABSENT "
    world.second.update({KEY: record("10.0.0.2")}, version=0, at=0)
    assert wire(subscription) == "PRESENT 10.0.0.2"
    world.first.update({KEY: record("10.0.0.1")}, version=11, at=0)
    assert wire(subscription) == "PRESENT 10.0.0.1"
    world.second.update({KEY: record("10.0.0.3")}, version=0, at=0)
    assert wire(subscription) is None
    world.first.update({KEY: None}, version=12, at=0)
    assert wire(subscription) == "PRESENT 10.0.0.3"


def test_a_replacement_publishes_the_difference_deletions_included(world: World) -> None:
    gone, kept = ServiceKey("shop", "gone"), ServiceKey("shop", "kept")
    world.sync(record("10.0.0.1", key=gone), record("10.0.0.2", key=kept))
    watches = [watch(world, ServiceName(key)) for key in (gone, kept, KEY)]
    assert [wire(one) for one in watches] == ["PRESENT 10.0.0.1", "PRESENT 10.0.0.2", "ABSENT "]
    world.first.replace(
        [record("10.0.0.2", key=kept), record("10.0.0.3")], version=20, epoch="e", at=0
    )
    assert [wire(one) for one in watches] == ["ABSENT ", None, "PRESENT 10.0.0.3"]
    assert world.observer.totals["first"] == (2, 2)
    assert world.synced == ["first", "second"]


@pytest.mark.parametrize(("port", "expected"), [("grpc", "grpc"), ("80", "grpc"), ("81", "admin")])
def test_a_port_is_found_by_name_and_by_number(world: World, port: str, expected: str) -> None:
    world.sync(record("10.0.0.1", ports="grpc,admin"))
    assert world.store.get(ServiceName(KEY, port)).snapshot.service == ServiceName(KEY, expected)


def test_one_port_is_the_default_whatever_its_name(world: World) -> None:
    world.sync(record("10.0.0.1", ports="grpc"))
    assert world.store.get(NAME).snapshot.service == ServiceName(KEY, "grpc")


def test_several_ports_and_none_named_is_refused_with_their_list(world: World) -> None:
    world.sync(record("10.0.0.1", ports="grpc,admin"))
    with pytest.raises(AmbiguousPort, match=r"name one of them: grpc \(80\), admin \(81\)"):
        world.store.get(NAME)


@pytest.mark.parametrize(
    ("ports", "sentence"),
    [
        ((ServicePort("grpc", 80), ServicePort("admin", 81)), ", it has: grpc (80), admin (81)"),
        ((ServicePort("", 80),), ", it has: 80"),
        ((ServicePort("web"),), ", it has: web"),
        ((), ": it has no ports at all, so that nothing can be dialled"),
        ((ServicePort(),), ": its only one has no name or number, ask for it without a port"),
    ],
)
def test_an_unknown_port_is_refused_with_those_that_there_are(
    world: World, ports: tuple[ServicePort, ...], sentence: str
) -> None:
    world.sync(ServiceRecord(KEY, ports, {}))
    with pytest.raises(InvalidServiceName) as caught:
        watch(world, ServiceName(KEY, "99"))
    assert str(caught.value) == f"service {KEY} has no port '99'{sentence}"


def test_a_port_that_is_called_by_the_number_of_another_is_found_by_its_name(world: World) -> None:
    ports = (ServicePort("grpc", 81), ServicePort("81", 80), ServicePort("more", 82))
    world.sync(ServiceRecord(KEY, ports, {}))
    found = {
        asked: world.store.get(ServiceName(KEY, asked)).snapshot.service.port
        for asked in ("81", "80", "82", "grpc")
    }
    assert found == {"81": "81", "80": "81", "82": "more", "grpc": "grpc"}


def test_an_external_name_is_refused_with_the_name_to_dial(world: World) -> None:
    world.sync(ServiceRecord(KEY, (), {}, external_name="db.example"))
    with pytest.raises(ExternalNameService, match=r"dial db\.example by DNS"):
        world.store.get(NAME)


def test_a_service_without_ports_is_empty(world: World) -> None:
    world.sync(ServiceRecord(KEY, (), {}))
    assert world.store.get(NAME).snapshot.state is State.EMPTY


def test_a_watch_that_becomes_unanswerable_is_told_the_error_once(world: World) -> None:
    world.sync(record("10.0.0.1"))
    subscription = watch(world)
    subscription.take()
    world.first.update({KEY: record("10.0.0.1", ports="a,b")}, version=11, at=0)
    assert isinstance(subscription.take(), AmbiguousPort)
    world.first.update({KEY: record("10.0.0.2", ports="a,b")}, version=12, at=0)
    assert subscription.take() is None


def test_the_list_of_services_is_in_order_and_by_namespace(world: World) -> None:
    world.sync(
        record("10.0.0.1", key=ServiceKey("shop", "b")),
        record(key=ServiceKey("shop", "a"), ports="x,y"),
        record("10.0.0.1", key=ServiceKey("mall", "c")),
    )
    names = [str(snapshot.service) for snapshot in world.store.snapshots()]
    assert names == ["c.mall", "a.shop:x", "a.shop:y", "b.shop"]
    assert [str(s.service) for s in world.store.snapshots("mall")] == ["c.mall"]


def test_propagation_is_timed_to_the_last_write_of_a_change(world: World) -> None:
    world.sync(record("10.0.0.1"))
    one, other, closed = watch(world), watch(world), watch(world)
    for subscription in (one, other, closed):
        wire(subscription)
    world.clock.now = 5.0
    world.first.update({KEY: record("10.0.0.2")}, version=11, at=5.0)
    wire(one)
    closed.close()
    assert world.observer.times == []
    world.clock.now = 5.5
    wire(other)
    assert world.observer.times == [0.5]


def test_a_change_that_a_slow_reader_missed_ends_with_the_newer_one(world: World) -> None:
    world.sync(record("10.0.0.1"))
    subscription = watch(world)
    wire(subscription)
    world.first.update({KEY: record("10.0.0.2")}, version=11, at=0.0)
    subscription.take()
    world.first.update({KEY: record("10.0.0.3")}, version=12, at=0.0)
    world.clock.now = 1.0
    subscription.written()
    world.clock.now = 2.0
    wire(subscription)
    assert world.observer.times == [1.0, 2.0]


def test_a_closed_watch_leaves_nothing_behind(world: World) -> None:
    world.sync(record("10.0.0.1"))
    subscriptions = [watch(world), watch(world, ServiceName(ServiceKey("shop", "nobody")))]
    assert world.store.watchers == 2
    for subscription in subscriptions:
        subscription.close()
        subscription.close()
    assert world.store.watchers == 0
    world.first.update({KEY: record("10.0.0.2")}, version=11, at=0)
    assert [subscription.take() for subscription in subscriptions] == [None, None]
    assert world.observer.times == []


def test_a_watch_may_close_while_it_is_being_woken(world: World) -> None:
    world.sync(record("10.0.0.1"))
    kept = watch(world)
    kept.take()
    leaving: list[Subscription] = []

    def leave_all() -> None:
        for one in leaving:
            one.close()

    leaving += [world.store.subscribe(NAME, leave_all) for _ in range(2)]
    world.first.update({KEY: record("10.0.0.2")}, version=11, at=0)
    assert wire(kept) == "PRESENT 10.0.0.2"
    assert world.store.watchers == 1
    assert world.observer.times == [0.0]


def test_every_error_of_a_request_is_a_request_error() -> None:
    for error in (AmbiguousPort, ExternalNameService, InvalidServiceName, NotSynced):
        assert issubclass(error, RequestError)


def test_what_there_is_of_a_service_that_is_not_known_is_told(world: World) -> None:
    world.sync()
    world.first.follow_absences(lambda key: f"slice a names {key.name}")
    text = r"^service greeter\.shop is not known; slice a names greeter$"
    for ask in (world.store.get, world.store.explain, world.store.count):
        with pytest.raises(ServiceNotFound, match=text):
            ask(NAME)


def test_an_alias_is_listed_with_its_target_and_has_no_endpoints(world: World) -> None:
    alias = ServiceRecord(KEY, (ServicePort("grpc", 80),), {}, external_name="db.example")
    world.sync(alias)
    (listed,) = world.store.snapshots()
    assert (str(listed.service), listed.state) == ("greeter.shop", State.EMPTY)
    assert (listed.external_name, listed.endpoints) == ("db.example", ())
    shown, ports = finish(world.store.overview(5))
    assert (shown, ports) == ([(NAME, "first", "alias of db.example", 0)], 1)


def test_a_namespace_that_is_lost_is_stale_by_itself(world: World) -> None:
    there = ServiceKey("lost", "greeter")
    lost = ServiceName(there)
    world.sync(record("10.0.0.1"), record("10.0.0.9", key=there))
    mine, theirs = watch(world), watch(world, lost)
    mine.take(), theirs.take()
    world.first.set_lost({"lost": "services: forbidden"})
    assert mine.take() is None
    assert theirs.take() == b"STALE 10.0.0.9"
    assert [one.state for one in world.store.snapshots()] == [State.STALE, State.PRESENT]
    assert [row[2] for row in finish(world.store.overview(5))[0]] == ["stale", "present"]
    with pytest.raises(NotSynced, match="last view of a source that was lost: services: forbidden"):
        world.store.get(ServiceName(ServiceKey("lost", "none")))
    with pytest.raises(ServiceNotFound):
        world.store.get(ServiceName(ServiceKey("shop", "none")))
    world.first.set_lost({})
    assert theirs.take() == b"PRESENT 10.0.0.9"
    assert mine.take() is None


def test_a_namespace_that_is_lost_holds_up_to_where_it_was_lost(world: World) -> None:
    there = ServiceKey("lost", "greeter")
    feed = world.first
    feed.replace([record("10.0.0.1"), record("10.0.0.9", key=there)], version=5, epoch="e", at=0)
    feed.update({there: record("10.0.0.8", key=there)}, version=7, at=0)
    feed.set_lost({"lost": "forbidden"})
    feed.advance(9)
    assert (feed.version_of(KEY), feed.version_of(there)) == (9, 7)
    feed.set_lost({"lost": "forbidden, still"})
    assert feed.version_of(there) == 7
    feed.set_lost({})
    assert feed.version_of(there) == 9
    feed.set_lost({"lost": "forbidden"})
    feed.replace([], version=2, epoch="of another history", at=0)
    assert feed.version_of(there) == 2
