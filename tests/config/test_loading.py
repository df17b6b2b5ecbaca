"""Settings from the command line, the environment and the config file."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import pytest

from lookaside.config import SETTINGS, Listen, Setting, Settings, SourceSetting, load
from lookaside.errors import ConfigError


def test_nothing_given_leaves_the_defaults() -> None:
    settings = load({}, {})

    assert settings == Settings()
    assert settings.listen == Listen("", 50052)
    assert settings.admin == Listen("", 9090)
    assert settings.sources == ()


def test_every_field_is_a_setting_and_the_other_way_round() -> None:
    assert [setting.field for setting in SETTINGS] == [each.name for each in fields(Settings)]


def test_no_variable_is_one_that_kubernetes_sets_for_a_service_called_lookaside() -> None:
    for setting in SETTINGS:
        assert not setting.variable.startswith(("LOOKASIDE_PORT", "LOOKASIDE_SERVICE"))


@pytest.mark.parametrize(
    "setting",
    [setting for setting in SETTINGS if getattr(Settings(), setting.field) not in (None, ())],
    ids=lambda setting: setting.key,
)
def test_a_default_that_help_shows_is_what_holds(setting: Setting) -> None:
    assert load({setting.key: setting.shown_default}, {}) == Settings()


def test_the_command_line_wins_then_the_environment_then_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text("grace: 1\nstale_after: 2\nwrite_timeout: 3\n")

    settings = load(
        {"grace": "10", "stale_after": None},
        {"LOOKASIDE_GRACE": "20", "LOOKASIDE_STALE_AFTER": "20"},
        file,
    )

    assert (settings.grace, settings.stale_after, settings.write_timeout) == (10, 20, 3)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text("tls_cert: a.pem\ntls_key: b.pem\n")

    settings = load({}, {"LOOKASIDE_TLS_CERT": "", "LOOKASIDE_TLS_KEY": " "}, file)

    assert (settings.tls_cert, settings.tls_key) == (Path("a.pem"), Path("b.pem"))


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "{}", "grace:\nadmin: ~\nsource: []\n", "source:\n"]
)
def test_a_file_may_set_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text(text)

    assert load({}, {}, file) == Settings()


BOTH = (SourceSetting("kubernetes"), SourceSetting("file", "a.yaml"))


@pytest.mark.parametrize(
    ("flags", "environ", "text"),
    [
        ({"source": ("kubernetes", "file:a.yaml")}, {}, ""),
        ({"source": ()}, {"LOOKASIDE_SOURCE": "kubernetes file:a.yaml"}, ""),
        ({}, {"LOOKASIDE_SOURCE": "kubernetes, file:a.yaml"}, "source: file:b.yaml"),
        ({}, {}, "source: [kubernetes, file:a.yaml]"),
        ({}, {}, "source:\n  - kubernetes\n  - file:a.yaml\n"),
    ],
)
def test_sources_are_several_in_each_form(
    tmp_path: Path, flags: Mapping[str, Sequence[str]], environ: Mapping[str, str], text: str
) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text(text)

    assert load(flags, environ, file).sources == BOTH


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("listen", ":0", Listen("", 0)),
        ("listen", "[::]:50052", Listen("", 50052)),
        ("listen", "0.0.0.0:50052", Listen("0.0.0.0", 50052)),
        ("listen", "[FD00::1]:1", Listen("fd00::1", 1)),
        ("listen", "localhost:1", Listen("localhost", 1)),
        ("admin", "off", None),
        ("grace", "0", 0.0),
        ("grace", "1.5", 1.5),
        ("grace", "500ms", 0.5),
        ("grace", "30s", 30.0),
        ("grace", "5m", 300.0),
        ("grace", "1.5h", 5400.0),
        ("max_watch_age", "0", 0.0),
        ("reflection", "off", False),
        ("reflection", "Yes", True),
        ("log_level", "DEBUG", "debug"),
        ("kubeconfig", "/a b", Path("/a b")),
        ("cluster_domain", "corp.example", "corp.example"),
        ("dns_interval", "5s", 5.0),
    ],
)
def test_good_values(key: str, text: str, value: object) -> None:
    assert getattr(load({key: text}, {}), key) == value


DURATION = "expected seconds, or a number with a unit as in 500ms, 30s, 5m or 1h"
FORM = "kubernetes|file:PATH|dns:HOST:PORT"
SOURCE = "expected kubernetes, file:PATH or dns:HOST:PORT"
LISTEN = "expected HOST:PORT, [IPV6]:PORT, or :PORT for every address"


@pytest.mark.parametrize(
    ("flag", "text", "sentence"),
    [
        ("source", "etcd:a:1", f"--source 'etcd:a:1': {SOURCE}"),
        ("source", "file:", f"--source 'file:': {SOURCE}"),
        ("source", "kubernetes:x", f"--source 'kubernetes:x': {SOURCE}"),
        ("source", "dns:a", f"--source 'dns:a': {SOURCE}, PORT 1 to 65535"),
        ("source", "dns:a:0", f"--source 'dns:a:0': {SOURCE}, PORT 1 to 65535"),
        ("source", "dns:a:65536", f"--source 'dns:a:65536': {SOURCE}, PORT 1 to 65535"),
        (
            "source",
            "dns:a_b:1",
            (
                f"--source 'dns:a_b:1': {SOURCE}, HOST a name in DNS; 'a_b' is neither an IP "
                "address nor a host name"
            ),
        ),
        (
            "source",
            "dns:10.0.0.1:1",
            f"--source 'dns:10.0.0.1:1': {SOURCE}, HOST a name in DNS and no address",
        ),
        ("dns_interval", "0", "--dns-interval '0': expected a length of time above 0"),
        ("listen", "50052", f"--listen '50052': {LISTEN}"),
        ("listen", "a:65536", f"--listen 'a:65536': {LISTEN}"),
        ("listen", "::1:80", f"--listen '::1:80': {LISTEN}"),
        ("listen", "a:٣", f"--listen 'a:٣': {LISTEN}"),
        (
            "listen",
            "a_b:1",
            f"--listen 'a_b:1': {LISTEN}; 'a_b' is neither an IP address nor a host name",
        ),
        ("admin", "no", f"--admin 'no': {LISTEN}; or off"),
        (
            "namespace",
            "A",
            (
                "--namespace 'A': expected a namespace: small letters, digits and -, at most 63 "
                "characters"
            ),
        ),
        (
            "cluster_domain",
            "a..b",
            "--cluster-domain 'a..b': expected a DNS domain such as cluster.local",
        ),
        ("grace", "abc", f"--grace 'abc': {DURATION}"),
        ("grace", "-1", f"--grace '-1': {DURATION}"),
        ("grace", "1d", f"--grace '1d': {DURATION}"),
        ("grace", "9000h", f"--grace '9000h': {DURATION}"),
        ("grace", "nan", f"--grace 'nan': {DURATION}"),
        ("stale_after", "0", "--stale-after '0': expected a length of time above 0"),
        ("write_timeout", "0ms", "--write-timeout '0ms': expected a length of time above 0"),
        ("reflection", "maybe", "--reflection 'maybe': expected true or false"),
        ("tls_cert", "a\0b", "--tls-cert 'a\\x00b': expected text without NUL"),
        ("source", "file:\udcff", "--source 'file:\\udcff': expected UTF-8 text"),
        ("max_watch_age", "1 h", f"--max-watch-age '1 h': {DURATION}"),
        (
            "default_namespace",
            "a.b",
            (
                "--default-namespace 'a.b': expected a namespace: small letters, digits and -, at "
                "most 63 characters"
            ),
        ),
        (
            "token_audience",
            "a b",
            "--token-audience 'a b': expected an audience such as lookaside, without spaces",
        ),
        ("log_level", "loud", "--log-level 'loud': expected one of debug, info, warning, error"),
        ("log_format", "xml", "--log-format 'xml': expected one of auto, json, console"),
    ],
)
def test_a_bad_value_is_one_sentence(flag: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({flag: text}, {})

    assert str(refused.value) == sentence


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_what_is_no_text_is_refused_of_a_variable(setting: Setting) -> None:
    with pytest.raises(ConfigError) as refused:
        load({}, {setting.variable: "\udcff"})

    assert str(refused.value) == f"{setting.variable} '\\udcff': expected UTF-8 text"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"tls_key": "k"}, "tls_key is given without tls_cert; TLS needs both"),
        ({"tls_cert": "c"}, "tls_cert is given without tls_key; TLS needs both"),
        ({"tls_client_ca": "c"}, "tls_client_ca is given without tls_cert and tls_key"),
        ({"source": ["kubernetes", "kubernetes"]}, "source: kubernetes is given twice"),
        ({"namespace": ["shop", "a", "shop"]}, "namespace: shop is given twice"),
        (
            {"source": ["dns:a:1"], "dns_interval": "2m"},
            (
                "stale_after 120s is not above dns_interval 120s; lists of DNS would be stale "
                "before they are looked at"
            ),
        ),
        (
            {"listen": ":9090"},
            "listen :9090 and admin :9090 take the same port; expected two",
        ),
        (
            {"listen": "127.0.0.1:9090"},
            "listen 127.0.0.1:9090 and admin :9090 take the same port; expected two",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    flags: Mapping[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(flags, {})

    assert str(refused.value) == sentence


def test_two_servers_may_both_let_the_system_choose_a_port() -> None:
    assert load({"listen": ":0", "admin": ":0"}, {}).admin == Listen("", 0)


def test_the_name_of_a_dns_source_is_written_in_one_way() -> None:
    settings = load({"source": "dns:Greeter.Shop.:080"}, {})

    assert settings.sources == (SourceSetting("dns", "greeter.shop:80"),)
    assert str(settings.sources[0]) == "dns:greeter.shop:80"


@pytest.mark.parametrize(
    ("flags", "environ", "text"),
    [
        ({"namespace": ("shop", "other")}, {}, ""),
        ({}, {"LOOKASIDE_NAMESPACE": "shop other"}, "namespace: x"),
        ({}, {}, "namespace: [shop, other]"),
    ],
)
def test_namespaces_are_several_in_each_form(
    tmp_path: Path, flags: Mapping[str, Sequence[str]], environ: Mapping[str, str], text: str
) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text(text)

    assert load(flags, environ, file).namespaces == ("shop", "other")


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        load({}, {"LOOKASIDE_GRACE": "soon"})

    assert str(refused.value) == f"LOOKASIDE_GRACE 'soon': {DURATION}"


def test_variables_that_kubernetes_sets_are_no_concern() -> None:
    environ = {"LOOKASIDE_PORT": "tcp://10.0.0.1:50052", "LOOKASIDE_SERVICE_HOST": "10.0.0.1"}

    assert load({}, environ) == Settings()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\n  b: 2\n", "2:4: not valid YAML: mapping values are not allowed in this context"),
        ("- kubernetes\n", "1:1: a list; expected settings as KEY: VALUE"),
        ("\nstale-after: 5\n", "2:1: unknown setting 'stale-after'; did you mean 'stale_after'?"),
        ("grase: 5\n", "1:1: unknown setting 'grase'; did you mean 'grace'?"),
        ("\n\ngrace: soon\n", f"3:8: grace 'soon': {DURATION}"),
        ("grace: [1]\n", "1:8: grace: a list; expected DURATION"),
        ("source:\n  - {file: x}\n", f"2:5: source: a mapping; expected {FORM}"),
        (
            "source:\n  - kubernetes\n  - dns:a:x\n",
            f"3:5: source 'dns:a:x': {SOURCE}, PORT 1 to 65535",
        ),
    ],
)
def test_a_bad_file_is_named_with_line_and_column(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError) as refused:
        load({}, {}, file)

    assert str(refused.value) == f"{file}:{sentence}"


def test_an_unknown_setting_that_is_like_none_lists_them_all(tmp_path: Path) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text("zzz: 1\n")

    with pytest.raises(
        ConfigError, match=r"unknown setting 'zzz'; known are [a-z_, ]*admin, allow, "
    ):
        load({}, {}, file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.yaml: can't read the config file: No such file"):
        load({}, {}, tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("listen", "target"),
    [
        (Listen("", 1), "[::]:1"),
        (Listen("::1", 1), "[::1]:1"),
        (Listen("10.0.0.1", 1), "10.0.0.1:1"),
    ],
)
def test_an_address_is_written_as_grpc_takes_it(listen: Listen, target: str) -> None:
    assert listen.target == target
