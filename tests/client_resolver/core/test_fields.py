"""Reading the fields of JSON configs."""

from collections.abc import Callable

import pytest

from client_resolver.core import fields

Reader = Callable[..., object]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10s", 10.0),
        ("1.5s", 1.5),
        ("0s", 0.0),
        ("0.000000001s", 1e-9),
        ("315576000000s", 3.15576e11),
    ],
)
def test_a_duration_is_read_in_protobufs_json_form(value: str, seconds: float) -> None:
    assert fields.duration({"window": value}, "window", None) == seconds


@pytest.mark.parametrize(
    "value", ["10", "s", "10ms", "1.s", ".5s", " 1s", "1.0000000001s", 10, 1.5, True, ["1s"]]
)
def test_what_is_no_duration_is_refused_by_name(value: object) -> None:
    with pytest.raises(
        ValueError, match=r'^window is .*: a duration like "10s" or "1.5s" is wanted$'
    ):
        fields.duration({"window": value}, "window", None)


def test_a_negative_duration_is_refused_with_the_range() -> None:
    with pytest.raises(ValueError, match=r"^window is -1s: at least 0s is allowed$"):
        fields.duration({"window": "-1s"}, "window", None)


@pytest.mark.parametrize(
    ("value", "result"), [(5, 5), (5.0, 5), ("5", 5), ("5e2", 500), (4294967295, 4294967295)]
)
def test_a_whole_number_is_read_in_every_form_that_protobuf_allows(
    value: object, result: int
) -> None:
    read = fields.whole({"n": value}, "n", None)
    assert read == result
    assert type(read) is int


@pytest.mark.parametrize("value", [1.5, "1.5", "five", True, []])
def test_what_is_no_whole_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match=r"^n is .*: a whole number is wanted$"):
        fields.whole({"n": value}, "n", None)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "-1"),
        (101, "101"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        ("1e999", "inf"),
        # JSON has numbers that no float holds.
        (10**400, "inf"),
        (-(10**400), "-inf"),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(value: object, shown: str) -> None:
    wanted = rf"^n is {shown}: at least 0 and at most 100 is allowed$"
    with pytest.raises(ValueError, match=wanted):
        fields.whole({"n": value}, "n", None, high=100)
    with pytest.raises(ValueError, match=wanted):
        fields.number({"n": value}, "n", None, low=0, high=100)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"^n is (nan|inf): a finite number is allowed$"):
        fields.number({"n": value}, "n", None)


READERS: list[Reader] = [
    fields.codes,
    fields.duration,
    fields.flag,
    fields.listed,
    fields.number,
    fields.text,
    fields.whole,
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("config", [{}, {"x": None}])
def test_a_field_that_is_missing_or_null_is_the_default(
    reader: Reader, config: dict[str, object]
) -> None:
    default = object()
    assert reader(config, "x", default) is default


@pytest.mark.parametrize(
    ("reader", "wanted"),
    [
        (fields.flag, "true or false"),
        (fields.listed, "a list"),
        (fields.text, "a string"),
        (fields.codes, "a list"),
        (fields.number, "a number"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(reader: Reader, wanted: str) -> None:
    with pytest.raises(ValueError, match=rf"^x is \{{'a': 1\}}: {wanted} is wanted$"):
        reader({"x": {"a": 1}}, "x", None)


def test_values_of_the_right_type_are_returned() -> None:
    config = {"flag": False, "list": [1, "a"], "text": "", "number": "1.5", "object": {"a": 1}}
    assert fields.flag(config, "flag", True) is False
    assert fields.listed(config, "list", None) == [1, "a"]
    assert fields.text(config, "text", "default") == ""
    assert fields.number(config, "number", None) == 1.5
    assert fields.object_in(config, "object") == {"a": 1}
    assert fields.object_in(config, "none") is None


def test_an_object_that_is_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^x is 1: an object is wanted$"):
        fields.object_in({"x": 1}, "x")


def test_status_codes_are_read_by_name_in_any_case_and_by_number() -> None:
    assert fields.codes({"c": ["unavailable", 4, "INTERNAL"]}, "c", None) == frozenset(
        {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"}
    )


@pytest.mark.parametrize("value", ["UNAVAILBLE", 17, -1, True, 1.0])
def test_an_unknown_status_code_is_refused_with_the_known_ones(value: object) -> None:
    with pytest.raises(ValueError, match=r"^c has .*: one of OK, CANCELLED, .*UNAUTHENTICATED"):
        fields.codes({"c": [value]}, "c", None)


def test_an_error_names_the_objects_around_the_field() -> None:
    with (
        pytest.raises(ValueError, match=r"^outer\.inner\.n is 1\.5: a whole number is wanted$"),
        fields.inside("outer"),
        fields.inside("inner"),
    ):
        fields.whole({"n": 1.5}, "n", None)


def test_a_required_field_that_is_missing_or_null_is_named() -> None:
    fields.required({"a": 0, "b": ""}, "a", "b")
    with pytest.raises(ValueError, match=r"^b is missing$"):
        fields.required({"a": 0, "b": None}, "a", "b")
