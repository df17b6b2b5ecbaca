import pytest

from lookaside.registry.steps import finish
from lookaside.sources.kubernetes.api.decode import Bookmark, Change, Item
from lookaside.sources.kubernetes.api.errors import SuspiciousList, VersionRegression
from lookaside.sources.kubernetes.resource_store import ObjectUpdate, ResourceStore

A, B = ("default", "a"), ("default", "b")


@pytest.fixture
def store() -> ResourceStore[str]:
    store: ResourceStore[str] = ResourceStore()
    assert not finish(store.committing({A: "one"}, "10"))
    return store


def added(value: str | None, version: str, *, malformed: bool = False) -> Change[str]:
    return Change(Item(A, value, version, malformed=malformed))


def deleted(version: str) -> Change[str]:
    return Change(Item(A, "one", version), deleted=True)


def test_it_begins_with_nowhere_to_watch_from() -> None:
    store: ResourceStore[str] = ResourceStore()
    assert (store.position, store.version, len(store)) == (None, 0, 0)


@pytest.mark.parametrize(
    ("event", "update", "left"),
    [
        (added("two", "11"), ObjectUpdate(A, "one", "two", 11), ["two"]),
        (added(None, "11"), ObjectUpdate(A, "one", None, 11), []),
        (added(None, "11", malformed=True), None, ["one"]),
        (deleted("11"), ObjectUpdate(A, "one", None, 11), []),
        (Change(Item(B, "new", "11")), ObjectUpdate(B, None, "new", 11), ["one", "new"]),
        (Change(Item(B, "new", "11"), deleted=True), None, ["one"]),
        (Change(Item[str](None, None, "11", malformed=True)), None, ["one"]),
        (Bookmark("11"), None, ["one"]),
    ],
)
def test_events_move_the_position_and_tell_what_they_changed(
    store: ResourceStore[str],
    event: Change[str] | Bookmark,
    update: ObjectUpdate[str] | None,
    left: list[str],
) -> None:
    assert store.follow(event) == update
    assert list(store.items) == left
    assert (store.position, store.version) == ("11", 11)


def test_a_malformed_object_that_is_deleted_is_gone(store: ResourceStore[str]) -> None:
    gone = Change(Item[str](A, None, "11", malformed=True), deleted=True)
    assert store.follow(gone) == ObjectUpdate(A, "one", None, 11)


def test_an_event_without_a_version_leaves_the_position(store: ResourceStore[str]) -> None:
    store.follow(added("two", ""))
    assert (store.position, store.version, list(store.items)) == ("10", 10, ["two"])


@pytest.mark.parametrize("event", [added("two", "9"), Bookmark("9")])
def test_an_event_that_goes_back_is_not_taken(
    store: ResourceStore[str], event: Change[str] | Bookmark
) -> None:
    with pytest.raises(VersionRegression, match="9 came after 10"):
        store.follow(event)
    assert (store.position, list(store.items)) == ("10", ["one"])


@pytest.mark.parametrize(
    ("version", "number", "rewound"),
    [("11", 11, False), ("10", 10, False), ("9", 9, True), ("abc", 0, False), ("9" * 30, 0, False)],
)
def test_a_list_says_whether_it_went_back(
    store: ResourceStore[str], version: str, number: int, rewound: bool
) -> None:
    assert finish(store.committing({A: "other"}, version)) is rewound
    assert (store.position, store.version, list(store.items)) == (version, number, ["other"])


def test_an_empty_list_is_believed_the_second_time(store: ResourceStore[str]) -> None:
    with pytest.raises(SuspiciousList, match="lacks 1 of 1 objects"):
        finish(store.committing({}, "11"))
    assert (store.position, store.doubting, list(store.items)) == ("10", True, ["one"])
    finish(store.committing({}, "12"))
    assert (store.position, store.doubting, len(store)) == ("12", False, 0)
    finish(store.committing({}, "13"))
    assert store.position == "13"


def test_a_doubt_ends_with_a_list_that_lacks_nothing(store: ResourceStore[str]) -> None:
    with pytest.raises(SuspiciousList):
        finish(store.committing({}, "11"))
    finish(store.committing({A: "one", B: "other"}, "12"))
    with pytest.raises(SuspiciousList):
        finish(store.committing({}, "13"))


@pytest.mark.parametrize(
    ("share", "held", "lost", "doubted"),
    [
        (0.5, 1, 1, True),
        (0.5, 2, 1, False),
        (0.5, 3, 3, True),
        (0.5, 19, 18, False),
        (0.5, 20, 10, False),
        (0.5, 20, 11, True),
        (0.5, 1000, 0, False),
        (0.1, 20, 2, False),
        (0.1, 20, 3, True),
        (1.0, 20, 19, False),
        (1.0, 20, 20, True),
        (0.0, 20, 20, False),
        (0.0, 1, 1, False),
    ],
)
def test_a_list_that_lacks_most_of_what_is_held_is_doubted(
    share: float, held: int, lost: int, doubted: bool
) -> None:
    store: ResourceStore[str] = ResourceStore(share)
    keys = [("default", str(number)) for number in range(held)]
    finish(store.committing(dict.fromkeys(keys, "old"), "10"))
    # New objects do not make up for those that are lacking.
    new = dict.fromkeys(keys[lost:], "old") | ({B: "new"} if lost < held else {})
    if not doubted:
        finish(store.committing(new, "11"))
        assert len(store) == len(new)
        return
    with pytest.raises(SuspiciousList, match=f"lacks {lost} of {held} objects"):
        finish(store.committing(new, "11"))
    assert (len(store), store.position) == (held, "10")
    finish(store.committing(new, "12"))
    assert (len(store), store.position) == (len(new), "12")


def test_a_list_of_other_objects_alone_is_doubted(store: ResourceStore[str]) -> None:
    with pytest.raises(SuspiciousList):
        finish(store.committing({B: "other"}, "11"))


def test_the_first_list_is_never_doubted() -> None:
    store: ResourceStore[str] = ResourceStore()
    finish(store.committing({}, "10"))
    assert store.position == "10"


def test_a_malformed_object_of_a_list_leaves_what_is_known_of_it(store: ResourceStore[str]) -> None:
    listed: dict[tuple[str, str], str] = {}
    store.collect(listed, Item(A, None, malformed=True))
    store.collect(listed, Item(B, None, malformed=True))
    store.collect(listed, Item(None, None, malformed=True))
    assert listed == {A: "one"}
