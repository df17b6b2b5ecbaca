"""YAML whose values know where they stand."""

from pathlib import Path

import pytest

from lookaside.config import document
from lookaside.config.document import Items, Scalar, Table
from lookaside.errors import ConfigError

BOMB = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 15)
)


def test_values_know_where_they_stand() -> None:
    root = document.read("a:\n  - x\n  - {b: 'y'}\n", "f.yaml")

    assert isinstance(root, Table)
    items = root.values["a"]
    assert isinstance(items, Items)
    first, second = items.values
    assert isinstance(first, Scalar)
    assert (str(first.place), first.text, first.plain) == ("f.yaml:2:5", "x", True)
    assert isinstance(second, Table)
    assert str(second.places["b"]) == "f.yaml:3:6"


def test_text_without_a_value_is_none() -> None:
    assert document.read("# nothing", "f.yaml") is None


@pytest.mark.parametrize(
    ("text", "null"), [("", True), ("~", True), ("null", True), ("''", False), ("'~'", False)]
)
def test_a_word_for_nothing_counts_unless_it_is_quoted(text: str, null: bool) -> None:
    root = document.read(f"a: {text}", "f.yaml")

    assert isinstance(root, Table)
    node = root.values["a"]
    assert isinstance(node, Scalar)
    assert node.is_null is null


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1", "f.yaml:2:1: not valid YAML: did not find expected ',' or ']'"),
        ("\ta: 1", "f.yaml:1:1: not valid YAML: found character that cannot start any token"),
        ("a: 1\na: 2", "f.yaml:2:1: the key 'a' is given here and in line 1"),
        ("? [1]\n: 2", "f.yaml:1:3: a list as a key; expected a word"),
        ("a: *b", "f.yaml:1:4: the alias *b names no anchor above it"),
        ("a: &b [*b]", "f.yaml:1:8: the alias *b stands within what it names"),
        ("a\n---\nb", "f.yaml:2:1: a second document; one file holds one"),
        (
            "a: !!python/name:os.system x",
            "f.yaml:1:4: the tag 'tag:yaml.org,2002:python/name:os.system': tags are not supported",
        ),
        (
            "a: \x01",
            (
                "f.yaml: not valid YAML: unacceptable character #x0001: control characters are not "
                'allowed in "<unicode string>", position 3'
            ),
        ),
        ("[" * 200_000, "f.yaml:1:17: nested deeper than 16 levels"),
        ("{a: " * 20, "f.yaml:1:65: nested deeper than 16 levels"),
        (BOMB, "f.yaml:7:5: its aliases expand to more than 2,000,000 values"),
    ],
)
def test_what_is_malformed_or_unsafe_is_refused_by_place(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        document.read(text, "f.yaml")

    assert str(refused.value) == sentence


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no.yaml"

    with pytest.raises(ConfigError) as refused:
        document.load(path, "the config file")

    assert str(refused.value) == f"{path}: can't read the config file: No such file or directory"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read the config file: Is a directory"):
        document.load(tmp_path, "the config file")


def test_text_that_is_not_utf8_is_refused_by_place(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes("a: ä\nb: ".encode() + b"\xff\n")

    with pytest.raises(ConfigError) as refused:
        document.load(path, "the config file")

    assert str(refused.value) == f"{path}:2:4: not UTF-8 text"


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")

    assert document.load(path, "the config file") == "a: 1\n"


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 1024 * 1024)
    path = tmp_path / "f.yaml"
    path.write_bytes(b"#" * (1024 * 1024 + 1))

    with pytest.raises(ConfigError, match="the config file is larger than 1 MiB"):
        document.load(path, "the config file")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028"])
def test_a_hundred_thousand_directives_are_refused_at_once(end: str) -> None:
    text = "".join(f"%TAG !a{number}! tag:x{end}" for number in range(100_000))
    with pytest.raises(ConfigError, match=r"^f\.yaml:101:1: more than 100 directives$"):
        document.read(text, "f.yaml")


def test_a_few_directives_are_passed_over() -> None:
    root = document.read("%YAML 1.2\n%TAG ! tag:x\n---\na: 1\n", "f.yaml")
    assert isinstance(root, Table)
