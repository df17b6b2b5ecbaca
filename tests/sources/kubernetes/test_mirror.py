import pytest

from lookaside.sources.kubernetes.decode import Bookmark, Change, Item
from lookaside.sources.kubernetes.errors import Doubtful, Rewound
from lookaside.sources.kubernetes.mirror import Difference, Mirror

A, B = ("default", "a"), ("default", "b")


@pytest.fixture
def mirror() -> Mirror[str]:
    mirror: Mirror[str] = Mirror()
    assert not mirror.commit({A: "one"}, "10")
    return mirror


def added(value: str | None, version: str, *, malformed: bool = False) -> Change[str]:
    return Change(Item(A, value, version, malformed=malformed))


def deleted(version: str) -> Change[str]:
    return Change(Item(A, "one", version), deleted=True)


def test_it_begins_with_nowhere_to_watch_from() -> None:
    mirror: Mirror[str] = Mirror()
    assert (mirror.position, mirror.version, len(mirror)) == (None, 0, 0)


@pytest.mark.parametrize(
    ("event", "difference", "left"),
    [
        (added("two", "11"), Difference(A, "one", "two", 11), ["two"]),
        (added(None, "11"), Difference(A, "one", None, 11), []),
        (added(None, "11", malformed=True), None, ["one"]),
        (deleted("11"), Difference(A, "one", None, 11), []),
        (Change(Item(B, "new", "11")), Difference(B, None, "new", 11), ["one", "new"]),
        (Change(Item(B, "new", "11"), deleted=True), None, ["one"]),
        (Change(Item[str](None, None, "11", malformed=True)), None, ["one"]),
        (Bookmark("11"), None, ["one"]),
    ],
)
def test_events_move_the_position_and_tell_what_they_changed(
    mirror: Mirror[str],
    event: Change[str] | Bookmark,
    difference: Difference[str] | None,
    left: list[str],
) -> None:
    assert mirror.follow(event) == difference
    assert list(mirror.items) == left
    assert (mirror.position, mirror.version) == ("11", 11)


def test_a_malformed_object_that_is_deleted_is_gone(mirror: Mirror[str]) -> None:
    gone = Change(Item[str](A, None, "11", malformed=True), deleted=True)
    assert mirror.follow(gone) == Difference(A, "one", None, 11)


def test_an_event_without_a_version_leaves_the_position(mirror: Mirror[str]) -> None:
    mirror.follow(added("two", ""))
    assert (mirror.position, mirror.version, list(mirror.items)) == ("10", 10, ["two"])


@pytest.mark.parametrize("event", [added("two", "9"), Bookmark("9")])
def test_an_event_that_goes_back_is_not_taken(
    mirror: Mirror[str], event: Change[str] | Bookmark
) -> None:
    with pytest.raises(Rewound, match="9 came after 10"):
        mirror.follow(event)
    assert (mirror.position, list(mirror.items)) == ("10", ["one"])


@pytest.mark.parametrize(
    ("version", "number", "rewound"),
    [("11", 11, False), ("10", 10, False), ("9", 9, True), ("abc", 0, False), ("9" * 30, 0, False)],
)
def test_a_list_says_whether_it_went_back(
    mirror: Mirror[str], version: str, number: int, rewound: bool
) -> None:
    assert mirror.commit({A: "other"}, version) is rewound
    assert (mirror.position, mirror.version, list(mirror.items)) == (version, number, ["other"])


def test_an_empty_list_is_believed_the_second_time(mirror: Mirror[str]) -> None:
    with pytest.raises(Doubtful, match="lacks 1 of 1 objects"):
        mirror.commit({}, "11")
    assert (mirror.position, mirror.doubting, list(mirror.items)) == ("10", True, ["one"])
    mirror.commit({}, "12")
    assert (mirror.position, mirror.doubting, len(mirror)) == ("12", False, 0)
    mirror.commit({}, "13")
    assert mirror.position == "13"


def test_a_doubt_ends_with_a_list_that_lacks_nothing(mirror: Mirror[str]) -> None:
    with pytest.raises(Doubtful):
        mirror.commit({}, "11")
    mirror.commit({A: "one", B: "other"}, "12")
    with pytest.raises(Doubtful):
        mirror.commit({}, "13")


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
    mirror: Mirror[str] = Mirror(share)
    keys = [("default", str(number)) for number in range(held)]
    mirror.commit(dict.fromkeys(keys, "old"), "10")
    # New objects do not make up for those that are lacking.
    new = dict.fromkeys(keys[lost:], "old") | ({B: "new"} if lost < held else {})
    if not doubted:
        mirror.commit(new, "11")
        assert len(mirror) == len(new)
        return
    with pytest.raises(Doubtful, match=f"lacks {lost} of {held} objects"):
        mirror.commit(new, "11")
    assert (len(mirror), mirror.position) == (held, "10")
    mirror.commit(new, "12")
    assert (len(mirror), mirror.position) == (len(new), "12")


def test_a_list_of_other_objects_alone_is_doubted(mirror: Mirror[str]) -> None:
    with pytest.raises(Doubtful):
        mirror.commit({B: "other"}, "11")


def test_the_first_list_is_never_doubted() -> None:
    mirror: Mirror[str] = Mirror()
    mirror.commit({}, "10")
    assert mirror.position == "10"


def test_a_malformed_object_of_a_list_leaves_what_is_known_of_it(mirror: Mirror[str]) -> None:
    listed: dict[tuple[str, str], str] = {}
    mirror.collect(listed, Item(A, None, malformed=True))
    mirror.collect(listed, Item(B, None, malformed=True))
    mirror.collect(listed, Item(None, None, malformed=True))
    assert listed == {A: "one"}
