"""The command itself, and how `serve` takes its settings."""

import re
import shlex
import socket
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

import lookaside
from lookaside.cli import main
from lookaside.config import SETTINGS, Listen, Settings, SourceSetting
from lookaside.errors import ConfigError, LookasideError, SourceError


class App(ModuleType):
    """Stands for the service: remembers the settings that it is to run with."""

    def __init__(self) -> None:
        super().__init__("lookaside.app")
        self.settings: list[Settings] = []
        self.failure: BaseException | None = None

    def run(self, settings: Settings) -> None:
        self.settings.append(settings)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    stub = App()
    monkeypatch.setitem(sys.modules, "lookaside.app", stub)
    monkeypatch.setattr(lookaside, "app", stub, raising=False)
    return stub


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(main, ["--version"])

    assert result.exit_code == 0
    assert result.stdout.startswith("lookaside 0.")


def test_help_names_every_setting_with_its_variable() -> None:
    text = CliRunner().invoke(main, ["serve", "--help"], terminal_width=300).stdout

    for setting in SETTINGS:
        assert setting.flag in text
        assert f"env: {setting.variable}; default: {setting.shown_default}" in text


def test_serve_runs_with_what_flags_variables_and_file_say(app: App, tmp_path: Path) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text("source: kubernetes\ngrace: 3\nlog_level: debug\n")

    result = CliRunner().invoke(
        main,
        ["serve", "--source", "file:a", "--source", "kubernetes", "--no-reflection"],
        env={
            "LOOKASIDE_CONFIG": str(file),
            "LOOKASIDE_LISTEN": "127.0.0.1:0",
            "LOOKASIDE_ADMIN": "off",
            "LOOKASIDE_GRACE": "5s",
        },
    )

    assert (result.exit_code, result.output) == (0, "")
    assert app.settings == [
        Settings(
            sources=(SourceSetting("file", "a"), SourceSetting("kubernetes")),
            listen=Listen("127.0.0.1", 0),
            admin=None,
            grace=5,
            log_level="debug",
            reflection=False,
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--grace", "soon"],
            (
                "Error: --grace 'soon': expected seconds, or a number with a unit as in 500ms, "
                "30s, 5m or 1h\n"
            ),
        ),
        (
            ["--source", "etcd:a:1"],
            "Error: --source 'etcd:a:1': expected kubernetes, file:PATH or dns:HOST:PORT\n",
        ),
        (["--tls-key", "k"], "Error: tls_key is given without tls_cert; TLS needs both\n"),
        (
            ["--config", "/nowhere.yaml"],
            "Error: /nowhere.yaml: can't read the config file: No such file or directory\n",
        ),
    ],
)
def test_a_bad_setting_is_one_sentence_and_code_2(
    app: App, arguments: list[str], sentence: str
) -> None:
    result = CliRunner().invoke(main, ["serve", *arguments])

    assert (result.exit_code, result.stderr) == (2, sentence)
    assert app.settings == []


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (ConfigError("f.yaml:1:2: no"), 2, "Error: f.yaml:1:2: no\n"),
        (SourceError("gone"), 1, "Error: gone\n"),
        (FileNotFoundError(2, "No such file", "/a"), 1, "Error: /a: No such file\n"),
        (OSError("odd"), 1, "Error: odd\n"),
        (LookasideError("failed"), 1, "Error: failed\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_failure_of_the_service_is_one_sentence_and_a_code(
    app: App, failure: BaseException, code: int, text: str
) -> None:
    app.failure = failure

    result = CliRunner().invoke(main, ["serve", "--listen", "127.0.0.1:0", "--admin", "off"])

    assert (result.exit_code, result.stderr) == (code, text)


def test_a_port_that_is_taken_is_one_sentence_and_code_1(app: App) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        asked = CliRunner().invoke(main, ["serve", "--listen", address, "--admin", "off"])
        looked = CliRunner().invoke(main, ["serve", "--listen", "127.0.0.1:0", "--admin", address])

    sentence = f"{address}: address already in use; another process listens there\n"
    assert (asked.exit_code, asked.stderr) == (1, f"Error: listen {sentence}")
    assert (looked.exit_code, looked.stderr) == (1, f"Error: admin {sentence}")
    assert app.settings == []


def test_an_address_of_another_machine_is_one_sentence_and_code_1(app: App) -> None:
    result = CliRunner().invoke(main, ["serve", "--listen", "192.0.2.1:1", "--admin", "off"])

    assert (result.exit_code, app.settings) == (1, [])
    assert result.stderr == (
        "Error: listen 192.0.2.1:1: cannot assign requested address; this machine has no such "
        "address; :PORT listens on all of its addresses\n"
    )


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_a_sentence_and_the_exit_codes(name: str) -> None:
    result = CliRunner().invoke(main, [name, "-h"], terminal_width=300)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: main {name} ")
    assert "Exit codes: 0 done, 1 failed, 2 wrong usage" in result.stdout
    assert main.commands[name].get_short_help_str(limit=200).endswith(".")


@pytest.mark.parametrize("name", sorted(main.commands))
def test_what_a_help_shows_to_be_typed_is_understood(name: str) -> None:
    command = main.commands[name]
    text = CliRunner().invoke(main, [name, "--help"], terminal_width=80).stdout
    typed = [line for line in text.splitlines() if line.startswith("    lookaside ")]
    shown = [shlex.split(re.split("[|>]", line)[0])[1:] for line in typed]

    assert "\\b" not in text
    assert len(shown) == len(re.findall(r"^ +lookaside ", command.help or "", re.MULTILINE))
    with main.make_context("lookaside", [], resilient_parsing=True) as parent:
        for own, *arguments in shown:
            assert own == name
            command.make_context(name, arguments, parent=parent).close()


def test_every_flag_of_every_command_says_what_it_is_for() -> None:
    for name, command in main.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (name, parameter.name)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nosuch"], "Error: No such command 'nosuch'."),
        (["--nosuch"], "Error: No such option '--nosuch'."),
        (["get"], "Error: Missing argument 'SERVICE'."),
        (["explain"], "Error: Missing argument 'SERVICE'."),
        (["watch"], "Error: Missing argument 'SERVICE...'."),
        (["completion"], "Error: Missing argument '{bash|zsh|fish}'."),
        (["get", "a", "b"], "Error: Got unexpected extra argument (b)"),
        (["get", "a", "--tokenfile", "x"], "Error: No such option '--tokenfile'."),
        (["serve", "--listn", ":1"], "Error: No such option '--listn'."),
        (["serve", "extra"], "Error: Got unexpected extra argument (extra)"),
        (["check", "--timeout", "never"], "Error: Invalid value for '--timeout': 'never'"),
        (["demo", "--held"], "Error: No such option '--held'."),
        (["get", "\udcff"], "Error: '\\udcff': expected UTF-8 text"),
        (["get", "a", "--zone", "a\0"], "Error: 'a\\x00': expected text without NUL"),
    ],
)
def test_wrong_usage_says_what_and_where_help_is(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, arguments, env={"LOOKASIDE_ADDRESS": "127.0.0.1:1"})

    assert result.stdout == ""
    assert sentence in result.stderr
    assert result.exit_code == 2
    assert " --help' for help." in result.stderr


def test_no_command_is_answered_with_the_help() -> None:
    result = CliRunner().invoke(main, [])

    assert result.exit_code == 2
    assert "Print the backends of a service." in result.output
