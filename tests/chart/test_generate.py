"""The README and the dashboard are as they are generated, and every value is described."""

import json

import pytest

from helm import generate
from tests.chart.values import CHART, Values, defaults


def test_the_generated_files_are_as_they_are_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_a_file_that_differs_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "generated", lambda: {CHART / "README.md": "another"})
    assert generate.main(["--check"]) == 1
    assert "helm/lookaside/README.md" in capsys.readouterr().err


def test_the_readme_lists_every_value_with_its_default() -> None:
    listed = {each.key: each for each in generate.values((CHART / "values.yaml").read_text())}
    for key, each in listed.items():
        assert json.loads(each.default) == _at(defaults(), key)
        assert each.text.endswith("."), key
    assert {key.partition(".")[0] for key in listed} == set(defaults())


def test_a_value_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"line 4: no comment says what a\.c is"):
        generate.values("a:\n  # Said.\n  b: 1\n  c: 2\n")


def test_a_comment_of_a_mapping_stands_for_what_is_in_it() -> None:
    found = generate.values("# All of it.\na: {b: 1}\nc:\n  # One,\n  # and more.\n  d: [x|y]\n")
    assert found == [
        generate.Value("a", '{"b": 1}', "All of it."),
        generate.Value("c.d", '["x|y"]', "One, and more."),
    ]


def test_a_bar_does_not_end_a_cell_of_the_table() -> None:
    table = generate.readme((CHART / "README.md").read_text(), "# This|that.\na: x|y\n")
    assert '| `a` | `"x\\|y"` | This\\|that. |' in table


def _at(values: Values, key: str) -> object:
    value: object = values
    for part in key.split("."):
        assert isinstance(value, dict)
        value = value[part]
    return value
