import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api.kubeconfig import Config, merge, parse, select
from lookaside.sources.kubernetes.api.kubeconfig_entries import Cluster, Exec, Pem, User

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"


def config(
    cluster: Any = None, user: Any = None, *, name: str = "c", path: str = "/dir/config", **top: Any
) -> Config:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}", **(cluster or {})}}],
        "users": [{"name": name, "user": user}],
        **top,
    }
    return parse(json.dumps(content), path)


def user(**fields: Any) -> User:
    return select(config(user=fields), None)[1]


def cluster(**fields: Any) -> Cluster:
    return select(config(fields), None)[0]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "null", "{}", "---\n"])
def test_a_file_may_hold_nothing(text: str) -> None:
    assert not parse(text, "/dir/config")


def test_the_first_file_with_a_current_context_says_which() -> None:
    files = [Config(), config(name="", contexts=[]), config(name="a"), config(name="b")]
    assert merge(files).current_context == "a"
    assert select(merge(files), None)[0].server == "https://a"
    assert select(merge(files), "b")[0].server == "https://b"


def test_the_first_file_with_an_entry_has_it_whole() -> None:
    first = config({"server": "https://first"}, {"token": "first"})
    second = config({"server": "https://second", "proxy-url": "http://p"}, {"as": "second"})
    assert select(merge([first, second]), None) == (
        Cluster("https://first"),
        User(token="first"),
    )


def test_a_context_of_one_file_may_name_what_another_has() -> None:
    contexts = config(clusters=[], users=[])
    rest = config(contexts=[], **{"current-context": ""})
    assert select(merge([contexts, rest]), None)[0].server == "https://c"


def test_relative_paths_start_from_the_file_that_has_them() -> None:
    here = config(
        {"certificate-authority": "ca.pem"},
        {"client-certificate": "../c.pem", "client-key": "/abs/k.pem", "tokenFile": "t"},
        path="/one/config",
    )
    found, whose = select(merge([config(name="x", path="/two/config"), here]), "c")
    assert found.ca == Pem(path="/one/ca.pem")
    assert whose.certificate == Pem(path="/c.pem")
    assert whose.key == Pem(path="/abs/k.pem")
    assert whose.token_file == "/one/t"


def test_a_cluster_is_read() -> None:
    extensions = [
        {"name": "other", "extension": {"a": 1}},
        {
            "name": "client.authentication.k8s.io/exec",
            "extension": {"s": "1", "i": 1, "n": None, "b": True, "l": ["x", 1.5]},
        },
    ]
    assert cluster(
        **{
            "server": "https://api:6443/prefix",
            "certificate-authority-data": "Y2E=",
            "tls-server-name": "name",
            "proxy-url": "http://proxy",
            "disable-compression": True,
            "extensions": extensions,
            "unknown": {"is": "passed over"},
        }
    ) == Cluster(
        "https://api:6443/prefix",
        Pem(data=b"ca"),
        tls_server_name="name",
        proxy_url="http://proxy",
        compression=False,
        exec_config={"s": "1", "i": 1, "n": None, "b": True, "l": ["x", 1.5]},
    )
    assert cluster(**{"insecure-skip-tls-verify": True}).insecure


def test_data_may_have_line_ends() -> None:
    text = """
current-context: c
contexts: [{name: c, context: {cluster: c, user: ''}}]
clusters:
- name: c
  cluster:
    server: https://c
    certificate-authority-data: |
      Y2
      E=
"""
    assert select(parse(text, "/config"), None) == (
        Cluster("https://c", Pem(data=b"ca")),
        User(),
    )


def test_impersonation_becomes_headers() -> None:
    found = user(
        **{
            "as": "jane",
            "as-uid": "7",
            "as-groups": ["g1", "g 2"],
            "as-user-extra": {"acme.com/Project%": ["a", "b"], "scopes": ["c"]},
        }
    )
    assert found.impersonation == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Group", "g 2"),
        ("Impersonate-Extra-acme.com%2FProject%25", "a"),
        ("Impersonate-Extra-acme.com%2FProject%25", "b"),
        ("Impersonate-Extra-scopes", "c"),
    )


@pytest.mark.parametrize(
    ("command", "resolved"),
    [("aws", "aws"), ("./bin/aws", "/dir/bin/aws"), ("bin/aws", "/dir/bin/aws"), ("/aws", "/aws")],
)
def test_a_plugins_command_is_looked_up_or_starts_from_the_file(
    command: str, resolved: str
) -> None:
    plugin = {
        "apiVersion": V1,
        "command": command,
        "args": ["a", ""],
        "env": [{"name": "N", "value": "v"}],
        "installHint": "hint",
        "provideClusterInfo": True,
        "interactiveMode": "Never",
    }
    assert user(exec=plugin).plugin == Exec(
        resolved, ("a", ""), (("N", "v"),), V1, "hint", provide_cluster_info=True
    )


@pytest.mark.parametrize(
    ("version", "mode"),
    [(V1, "Never"), (V1, "IfAvailable"), (V1BETA1, None), (V1BETA1, "IfAvailable")],
)
def test_a_plugin_that_needs_no_terminal_is_taken(version: str, mode: str | None) -> None:
    plugin = {"apiVersion": version, "command": "aws", "interactiveMode": mode, "args": None}
    assert user(exec=plugin).plugin == Exec("aws", (), (), version, "", provide_cluster_info=False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"<<": {}}, "the merge key << is not supported"),
        ({"token": 5}, "token is a number or a truth value; as a text it needs quotes"),
        ({"auth-provider": {"name": "oidc"}}, "auth-provider is not supported"),
        ({"as-groups": ["g"]}, "need as"),
        ({"as-uid": "1"}, "need as"),
        ({"as-user-extra": {"k": ["v"]}}, "need as"),
        ({"client-certificate": "c"}, "client-certificate has no client-key"),
        (
            {"client-certificate": "c", "client-certificate-data": "Yw==", "client-key": "k"},
            "client-certificate and client-certificate-data exclude each other",
        ),
        ({"token": "t", "username": "u"}, "exclude each other"),
        ({"tokenFile": "t", "password": "p"}, "exclude each other"),
        ({"client-key-data": "%"}, "client-key-data is not base64"),
        ({"token": ["hidden"]}, "token is a list; expected a text"),
        ({"exec": "aws"}, "exec is 'aws'; expected a mapping"),
        ({"exec": {"apiVersion": V1}}, "exec has no command"),
        ({"exec": {"command": "aws"}}, "the apiVersion of exec is ''"),
        (
            {"exec": {"command": "aws", "apiVersion": "client.authentication.k8s.io/v1alpha1"}},
            "v1alpha1'; expected client.authentication.k8s.io/v1 or",
        ),
        ({"exec": {"command": "aws", "apiVersion": V1}}, "interactiveMode is ''"),
        (
            {"exec": {"command": "aws", "apiVersion": V1, "interactiveMode": "Always"}},
            "a plugin that needs a terminal is not supported",
        ),
        (
            {"exec": {"command": "aws", "apiVersion": V1BETA1, "interactiveMode": "No"}},
            "interactiveMode is 'No'",
        ),
        (
            {"exec": {"command": "aws", "apiVersion": V1BETA1, "env": [{"value": "v"}]}},
            "expected a mapping with name and value",
        ),
    ],
)
def test_a_user_that_can_not_be_used_is_refused_with_the_place(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^/dir/config:1:\d+: .*{said}") as caught:
        user(**fields)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"server": ""}, "the cluster has no server"),
        (
            {"certificate-authority": "c", "certificate-authority-data": "Yw=="},
            "certificate-authority and certificate-authority-data exclude each other",
        ),
        (
            {"certificate-authority": "c", "insecure-skip-tls-verify": True},
            "certificate-authority and insecure-skip-tls-verify exclude each other",
        ),
        ({"insecure-skip-tls-verify": "true"}, "is 'true'; expected true or false"),
    ],
)
def test_a_cluster_that_can_not_be_used_is_refused_with_the_place(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^/dir/config:1:\d+: .*{said}"):
        cluster(**fields)


@pytest.mark.parametrize(
    ("found", "context", "said"),
    [
        (Config(), None, "no current-context is set; --context names one of: none"),
        (config(**{"current-context": ""}), None, "--context names one of: c"),
        (config(), "x", "the context 'x' does not exist; those there are: c"),
        (config(clusters=[]), None, "the cluster 'c' does not exist"),
        (config(users=[]), None, "the user 'c' does not exist"),
    ],
)
def test_what_is_missing_is_named(found: Config, context: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        select(found, context)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "5",
        "{",
        "kind: Pod",
        "apiVersion: v2",
        "clusters: 5",
        "users: [5]",
        "contexts: [{name: a}, {name: a}]",
        "contexts: [{name: []}]",
        "users: [{name: a, user: []}]",
        "current-context: {}",
        "a: !!python/name:os.system ''",
        "current-context: 5",
        "current-context: no",
        "a: 1\na: 2",
        "a: 1\n---\nb: 2",
        "&a [*a]",
        "[" * 100,
        "\0",
    ],
)
def test_a_file_that_is_no_kubeconfig_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^/dir/config:[^\n]+$"):
        parse(text, "/dir/config")


def test_no_secret_is_in_a_repr() -> None:
    found = user(
        **{"token": "hidden", "client-certificate-data": "aGlkZGVu", "client-key-data": "aGlkZGVu"}
    )
    assert "hidden" not in repr(found)
    assert "hidden" not in repr(found.key)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KNOWN = st.sampled_from(
    [
        *("server", "proxy-url", "certificate-authority-data", "extensions", "token", "tokenFile"),
        *("client-certificate", "client-key-data", "as", "as-groups", "as-user-extra", "exec"),
        *("command", "args", "env", "name", "apiVersion", "interactiveMode", "<<", "context"),
    ]
)
FIELDS = st.dictionaries(KNOWN, st.dictionaries(KNOWN, JSON, max_size=3) | JSON, max_size=4)


@given(text=st.text(alphabet="ac:-[]{}&*!|>'\"#, \n\t\0ü<"))
def test_no_text_raises_anything_else(text: str) -> None:
    with suppress(ConfigError):
        parse(text, "/dir/config")


@settings(max_examples=50)
@given(cluster=FIELDS, user=FIELDS, top=FIELDS)
def test_no_fields_raise_anything_else(
    cluster: dict[str, Any], user: dict[str, Any], top: dict[str, Any]
) -> None:
    with suppress(ConfigError):
        select(config(cluster, user, **top), None)
