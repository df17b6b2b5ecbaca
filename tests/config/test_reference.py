"""The reference pages, held against the code that they are of."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from docs import generate
from lookaside.cli import main
from lookaside.cli.errors import EPILOG, EXIT_CODES
from lookaside.config import SETTINGS, Setting, load


@pytest.mark.parametrize(("name", "make"), generate.pages().items())
def test_a_page_is_what_the_code_says(name: str, make: Callable[[], str]) -> None:
    assert (generate.FOLDER / name).read_text() == make(), "run: python docs/generate.py"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_each_setting_has_its_flag_variable_key_default_and_unit_on_the_page(
    setting: Setting,
) -> None:
    section = generate.configuration().split(f"\n### {setting.key}\n")[1].split("\n### ")[0]

    assert f"`{setting.flag}" in section
    assert f"- variable: `{setting.variable}`" in section
    assert f"- key: `{setting.key}`" in section
    assert f"- default: {setting.shown_default}" in section
    assert ("- unit: " in section) is (setting.metavar in ("DURATION", "PERCENT"))


def test_the_page_has_no_setting_that_is_none() -> None:
    keys = re.findall(r"^### (\w+)$", generate.configuration(), re.MULTILINE)

    assert keys == [setting.key for setting in SETTINGS]


def test_the_config_file_on_the_page_is_good(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", generate.configuration(), re.DOTALL)
    file = tmp_path / "lookaside.yaml"
    file.write_text(example)

    assert load({}, {}, file).namespaces == ("shop", "checkout")


def test_every_command_is_on_the_page() -> None:
    titles = re.findall(r"^## lookaside ([\w-]+)$", generate.commands(), re.MULTILINE)

    assert sorted(titles) == sorted(main.commands)


def test_every_exit_code_is_on_the_page_and_in_every_help() -> None:
    page = generate.commands()

    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in page
        assert f" {code} " in EPILOG
    assert all(command.epilog == EPILOG for command in main.commands.values())


def test_a_page_that_differs_is_told_and_left_by_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 1
    assert capsys.readouterr().out.startswith("docs/reference/configuration.md differs\n")
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr("sys.argv", ["generate.py"])
    assert generate.main() == 0
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 0
