"""What the service sends by a kubeconfig is what the real kubectl sends."""

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.cluster import network
from tests.cluster.harness import Binaries
from tests.cluster.kubeconfigs import Case, Site

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
CLUSTER = {"server": "$https", "certificate-authority-data": "$ca"}


def config(
    cluster: Mapping[str, object] | None = None,
    user: Mapping[str, object] | None = None,
    *,
    name: str = "c",
    top: Mapping[str, object] | None = None,
) -> str:
    """Return a kubeconfig, as JSON; what is None is left out."""
    whole = {**CLUSTER, **(cluster or {})}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {k: v for k, v in whole.items() if v is not None}}],
        "users": [{"name": name, "user": {"token": f"{name}-token"} if user is None else user}],
        **(top or {}),
    }
    return json.dumps({key: value for key, value in content.items() if value is not None})


def one(
    cluster: Mapping[str, object] | None = None,
    user: Mapping[str, object] | None = None,
    *,
    refused: str = "",
    environ: Mapping[str, str] | None = None,
    **files: str,
) -> Case:
    return Case({"config": config(cluster, user), **files}, refused=refused, environ=environ or {})


def listed(*names: str, **files: str) -> Case:
    """Return a case of several files, with their names in KUBECONFIG."""
    value = ":".join(f"$dir/{name}" if name else "" for name in names)
    return Case(files, named=None, environ={"KUBECONFIG": value})


def answers(text: str = "", *, version: str = V1, before: str = "", **status: object) -> str:
    """Return a plugin that keeps what it is told, and prints this."""
    body = {"kind": "ExecCredential", "apiVersion": version, "status": status}
    keep = (
        'echo "$$KUBERNETES_EXEC_INFO" >> $dir/told\n'
        'for each in "$$@" "$$EXTRA"; do echo "<$$each>"; done >> $dir/told'
    )
    return f"#!/bin/sh\n{keep}\n{before}\ncat <<'END'\n{text or json.dumps(body)}\nEND\n"


def plugin(**fields: object) -> dict[str, object]:
    given = {"apiVersion": V1, "command": "./plugin", "interactiveMode": "Never", **fields}
    return {"exec": {key: value for key, value in given.items() if value is not None}}


def asked(script: str, *, cluster: Mapping[str, object] | None = None, **fields: object) -> Case:
    """Return a case whose user is a plugin."""
    return one(cluster, plugin(**fields), plugin=script)


def through(
    no_proxy: str, server: str = "https://api.test:6443", *, more: Mapping[str, str] | None = None
) -> Case:
    """Return a case with a proxy in the environment."""
    return one(
        {"server": server},
        environ={"HTTPS_PROXY": "http://$proxy", "NO_PROXY": no_proxy, **(more or {})},
    )


MERGED: dict[str, Case] = {
    "one file": one(),
    "a context that is named": Case(
        {"config": config(name="d", top={"current-context": "x"})}, "d"
    ),
    "the first current-context counts": listed("a", "b", a=config(name="a"), b=config(name="b")),
    "a file without a current-context is passed over": listed(
        "a", "b", a=config(name="a", top={"current-context": ""}), b=config(name="b")
    ),
    "an empty file": listed("a", "b", a="", b=config(name="b")),
    "a file of comments": listed("a", "b", a="# nothing\n", b=config(name="b")),
    "a file of null": listed("a", "b", a="null\n", b=config(name="b")),
    "a file of {}": listed("a", "b", a="{}", b=config(name="b")),
    "a missing file and an empty name": listed("none", "", "b", b=config(name="b")),
    "one file twice": listed("a", "a", a=config(name="a")),
    "a malformed file beside a good one": listed("a", "b", a="{", b=config(name="b")),
    "an entry of the first file whole": listed(
        "a", "b", a=config(user={"token": "a"}), b=config(user={"token": "b", "as": "b"})
    ),
    "a context whose cluster another file has": listed(
        "a",
        "b",
        a=config(top={"clusters": None, "users": None}),
        b=config(top={"contexts": None, "current-context": None}),
    ),
    "the home directory's": Case({"home/.kube/config": config()}, named=None),
    "a file that does not exist": Case({}),
    "a name with a colon": Case({"a:b": config()}, named="a:b"),
    "no current-context": Case({"config": config(top={"current-context": ""})}),
    "a context that does not exist": Case({"config": config(top={"current-context": "x"})}),
    "a cluster that does not exist": Case({"config": config(top={"clusters": []})}),
    "a user that does not exist": Case({"config": config(top={"users": []})}),
    "two entries of a name": Case(
        {"config": config(top={"users": [{"name": "c", "user": {"token": t}} for t in "ab"]})}
    ),
    "no kind and no apiVersion": Case({"config": config(top={"kind": None, "apiVersion": None})}),
    "another kind": Case({"config": config(top={"kind": "Pod"})}),
    "another apiVersion": Case({"config": config(top={"apiVersion": "v2"})}),
    "unknown keys": Case(
        {"config": config({"unknown": 1}, {"token": "t", "x": []}, top={"more": {}})}
    ),
    "a list for a mapping": Case({"config": config(top={"clusters": {}})}),
    "a number for a text": one({"tls-server-name": ["a"]}),
}
BLOCKS = """
apiVersion: v1
kind: Config
current-context: c
contexts:
- name: c
  context: {cluster: c, user: c}
clusters:
- name: c
  cluster: &cluster
    server: $https
    # as kind writes it
    certificate-authority-data: $ca
users:
- name: c
  user:
    token: TOKEN
"""


def yaml(old: str = "", new: str = "", refused: str = "") -> Case:
    return Case({"config": BLOCKS.replace(old, new, 1) if old else BLOCKS}, refused=refused)


TEXTS: dict[str, Case] = {
    "YAML": yaml(),
    "a byte order mark": yaml("\napiVersion", "\ufeffapiVersion"),
    "line ends of Windows": Case({"config": BLOCKS.replace("\n", "\r\n")}),
    "a date as a token": yaml("TOKEN", "2020-01-01"),
    "a quoted number as a token": yaml("TOKEN", "'123'"),
    "a number as a token": yaml("TOKEN", "123"),
    "a truth as a token": yaml("TOKEN", "yes"),
    "a null for a text": yaml("TOKEN", "TOKEN\n    as: ~"),
    "a folded token": yaml("TOKEN", ">-\n      a\n      b"),
    "yes for true": yaml("certificate-authority-data: $ca", "insecure-skip-tls-verify: yes"),
    "On for true": yaml("certificate-authority-data: $ca", "insecure-skip-tls-verify: On"),
    "TRUE for true": yaml("certificate-authority-data: $ca", "insecure-skip-tls-verify: TRUE"),
    "'true' for true": yaml("certificate-authority-data: $ca", "insecure-skip-tls-verify: 'true'"),
    "1 for true": yaml("certificate-authority-data: $ca", "insecure-skip-tls-verify: 1"),
    "y for true": yaml("certificate-authority-data: $ca", "insecure-skip-tls-verify: y"),
    "a number of base 16 as a token": yaml("TOKEN", "0x1F"),
    "a float as a token": yaml("TOKEN", "1.5e3"),
    "an infinity as a token": yaml("TOKEN", "-.inf"),
    "a number with underscores as a token": yaml("TOKEN", "1_000"),
    "a token that begins as a number": yaml("TOKEN", "123abc"),
    "an address as a token": yaml("TOKEN", "1.2.3"),
    "a number in a list of texts": yaml("TOKEN", "TOKEN\n    as: a\n    as-groups: [1]"),
    "a tab": yaml("  user:\n", "  user:\t\n"),
    "a key in other letters": yaml("TOKEN", "TOKEN\n    Username: u"),
    "a merged mapping": yaml("users:", "- name: d\n  cluster:\n    <<: *cluster\nusers:"),
    "a merged mapping that is used": yaml(
        "    certificate-authority-data: $ca\n",
        "    <<: {certificate-authority-data: $ca}\n",
        "the merge key <<",
    ),
    "a document's end": yaml("    token: TOKEN\n", "    token: TOKEN\n...\n"),
    "a second document": yaml(
        "    token: TOKEN\n", "    token: TOKEN\n---\na: b\n", "a second document"
    ),
    "a key twice": yaml(
        "    token: TOKEN\n",
        "    token: TOKEN\n    token: other\n",
        "the key 'token' is given here and",
    ),
    "a tag": yaml("TOKEN", "!!str TOKEN", "tags are not supported"),
    "CA data that is folded": yaml(
        "certificate-authority-data: $ca", "certificate-authority-data: >-\n      $ca"
    ),
    "bytes that are no text": yaml("TOKEN", "a\udcffb"),
}
SERVERS: dict[str, Case] = {
    "plain text tells nobody who one is": one({"server": "$plain"}),
    "plain text with a user in the URL": one({"server": "http://me:p%40w@$hostport"}),
    "plain text with impersonation": one({"server": "$plain"}, {"as": "jane"}),
    "HOST:PORT": one({"server": "$hostport", "certificate-authority-data": None}),
    "HOST:PORT with a CA": one({"server": "$hostport"}),
    "HOST:PORT with a path": one({"server": "$hostport/prefix"}),
    "a path": one({"server": "$https/k8s/clusters/c-1"}),
    "a path that ends in a slash": one({"server": "$https/k8s/"}),
    "a query": one({"server": "$https/k8s?a=b#c"}),
    "a user in the URL": one({"server": "https://me:pw@$address:$port"}, {"username": "u"}),
    "a user in the URL beside a token": one({"server": "https://me:pw@$address:$port"}),
    "another scheme": one({"server": "ftp://$address"}),
    "no server": one({"server": ""}),
    "another CA": one({"certificate-authority-data": "$strangers"}),
    "the certificate itself as CA": one({"certificate-authority-data": "$leaf"}),
    "a CA in a file": one({"certificate-authority-data": None, "certificate-authority": "ca.pem"}),
    "a CA in a file and as data": one({"certificate-authority": "ca.pem"}),
    "a CA in a missing file": one(
        {"certificate-authority-data": None, "certificate-authority": "none"}
    ),
    "a CA that is no PEM": one({"certificate-authority-data": "bm9uc2Vuc2U="}),
    "a CA that is no base64": one({"certificate-authority-data": "%"}),
    "the system's CAs": one({"certificate-authority-data": None}),
    "an unchecked certificate": one(
        {"certificate-authority-data": None, "insecure-skip-tls-verify": True}
    ),
    "an unchecked certificate and a CA": one({"insecure-skip-tls-verify": True}),
    "a name in the certificate": one({"tls-server-name": "api.test"}),
    "a name that is not in the certificate": one({"tls-server-name": "other.test"}),
    "no compression": one({"disable-compression": True}),
}
USERS: dict[str, Case] = {
    "basic authentication": one(user={"username": "u", "password": "p:w"}),
    "a token and a name": one(user={"token": "t", "username": "u"}),
    "a token file and a name": one(user={"tokenFile": "t", "username": "u"}, t="f"),
    "a token file": one(user={"tokenFile": "t"}, t=" f \n"),
    "a token file and a token": one(user={"tokenFile": "t", "token": "u"}, t="f\n"),
    "a missing token file and a token": one(user={"tokenFile": "none", "token": "u"}),
    "a missing token file": one(user={"tokenFile": "none"}),
    "a token with a line end": one(user={"token": "t\nX: y"}),
    "a certificate": one(user={"client-certificate-data": "$cert", "client-key-data": "$key"}),
    "a certificate in files": one(
        user={"client-certificate": "cert.pem", "client-key": "$dir/key.pem"}
    ),
    "a certificate in a file, its key as data": one(
        user={"client-certificate": "cert.pem", "client-key-data": "$key"}
    ),
    "a certificate and a token": one(
        user={"client-certificate": "cert.pem", "client-key": "key.pem", "token": "t"}
    ),
    "a certificate in a file and as data": one(
        user={
            "client-certificate": "cert.pem",
            "client-certificate-data": "$cert",
            "client-key": "key.pem",
        }
    ),
    "a certificate without a key": one(user={"client-certificate": "cert.pem"}),
    "a certificate in a missing file": one(
        user={"client-certificate": "none", "client-key": "key.pem"}
    ),
    "a key that is no PEM": one(
        user={"client-certificate": "cert.pem", "client-key-data": "bm9uc2Vuc2U="}
    ),
    "impersonation": one(
        user={
            "token": "t",
            "as": "jane",
            "as-uid": "7",
            "as-groups": ["g", "h i"],
            "as-user-extra": {"acme.com/Project%": ["a", "b"], "sco pes": ["c"]},
        }
    ),
    "groups without a user": one(user={"token": "t", "as-groups": ["g"]}),
    "a uid without a user": one(user={"token": "t", "as-uid": "7"}),
    "an auth-provider": one(
        user={"auth-provider": {"name": "oidc"}}, refused="auth-provider is not supported"
    ),
}
PLUGINS: dict[str, Case] = {
    "a plugin's token": asked(answers(token="t"), args=["a b", ""]),
    "a plugin of v1beta1": asked(
        answers(token="t", version=V1BETA1), apiVersion=V1BETA1, interactiveMode=None
    ),
    "a plugin's certificate": asked(answers(clientCertificateData="CERT", clientKeyData="KEY")),
    "a plugin with an environment": asked(
        answers(token="t"), env=[{"name": "EXTRA", "value": "e"}]
    ),
    "a plugin that is told of the cluster": asked(
        answers(token="t"),
        provideClusterInfo=True,
        cluster={
            "tls-server-name": "api.test",
            "disable-compression": True,
            "extensions": [
                {"name": V1.removesuffix("v1") + "exec", "extension": {"a": [1, "2", None]}}
            ],
        },
    ),
    "a plugin that is told of a CA in a file": asked(
        answers(token="t"),
        provideClusterInfo=True,
        cluster={"certificate-authority-data": None, "certificate-authority": "ca.pem"},
    ),
    "a plugin in a directory": Case(
        {"config": config(user=plugin(command="bin/p")), "bin/p": answers(token="t")}
    ),
    "a plugin in PATH": Case(
        {"config": config(user=plugin(command="p")), "bin/p": answers(token="t")},
        environ={"PATH": "$dir/bin:/usr/bin:/bin"},
    ),
    "a plugin that is not there": one(user=plugin(command="no-such", installHint="hint")),
    "a plugin that fails": asked(answers(before="echo why >&2; exit 1")),
    "a plugin that prints nothing": asked(answers(" ")),
    "a plugin that prints what is no JSON": asked(answers("token")),
    "a plugin of another version": asked(answers(token="t", version=V1BETA1)),
    "a plugin without a status": asked(
        answers(json.dumps({"kind": "ExecCredential", "apiVersion": V1}))
    ),
    "a plugin without a credential": asked(answers()),
    "a plugin with a key alone": asked(answers(clientKeyData="k")),
    "a plugin that expired": asked(answers(token="t", expirationTimestamp="2000-01-01T00:00:00Z")),
    "a plugin for a plain server": asked(answers(token="t"), cluster={"server": "$plain"}),
    "a plugin beside a token": one(user={**plugin(), "token": "t"}, plugin=answers(token="u")),
    "a plugin beside a certificate": one(
        user={**plugin(), "client-certificate": "cert.pem", "client-key": "key.pem"},
        plugin=answers(token="u"),
    ),
    "a plugin and impersonation": one(user={**plugin(), "as": "jane"}, plugin=answers(token="t")),
    "a plugin without a command": asked(answers(token="t"), command=None),
    "a plugin without a version": asked(answers(token="t"), apiVersion=None),
    "a plugin of an old version": asked(
        answers(token="t"), apiVersion="client.authentication.k8s.io/v1alpha1"
    ),
    "a plugin of v1 without a mode": asked(answers(token="t"), interactiveMode=None),
    "a plugin of another mode": asked(answers(token="t"), interactiveMode="Sometimes"),
    "a plugin that needs a terminal": asked(answers(token="t"), interactiveMode="Always"),
    "a plugin beside an auth-provider": one(
        user={**plugin(), "auth-provider": {"name": "oidc"}}, plugin=answers(token="t")
    ),
}
PROXIES: dict[str, Case] = {
    "a proxy of the environment": through(""),
    "a proxy with a password": through("", more={"HTTPS_PROXY": "http://me:p%40w@$proxy"}),
    "a proxy without a scheme": through("", more={"HTTPS_PROXY": "$proxy"}),
    "a proxy in lower case": through("", more={"HTTPS_PROXY": "", "https_proxy": "http://$proxy"}),
    "a proxy in upper case counts": through("", more={"https_proxy": "http://192.0.2.1:1"}),
    "a proxy that is no URL": through("", more={"HTTPS_PROXY": "http://[::1"}),
    "a proxy for http alone": through("*", server="$https", more={"HTTP_PROXY": "http://$proxy"}),
    "a proxy for http": one({"server": "$plain"}, environ={"HTTP_PROXY": "http://$proxy"}),
    "a network in no_proxy": through("10.0.0.0/8,$address/24", server="$https"),
    "another network in no_proxy": through("203.0.113.0/24", server="$https"),
    "an address in no_proxy": through("$address", server="$https"),
    "an address and a port in no_proxy": through("$address:$port", server="$https"),
    "an address and another port in no_proxy": through("$address:1", server="$https"),
    "everything in no_proxy": through("a,*", server="$https"),
    "no_proxy in lower case": through("", server="$https", more={"NO_PROXY": "", "no_proxy": "*"}),
    "a name in no_proxy": through("api.test"),
    "a domain in no_proxy": through("test"),
    "part of a name in no_proxy": through("pi.test"),
    "a suffix in no_proxy": through(".test"),
    "the name itself as a suffix in no_proxy": through(".api.test"),
    "a wildcard in no_proxy": through(" *.test "),
    "a name and a port in no_proxy": through("api.test:6443"),
    "a name and another port in no_proxy": through("api.test:443"),
    "a proxy of the cluster": one(
        {"server": "https://api.test:6443", "proxy-url": "http://$proxy"},
        environ={"NO_PROXY": "*"},
    ),
    "a proxy of the cluster before the environment's": one(
        {"proxy-url": "http://me:pw@$proxy"}, environ={"HTTPS_PROXY": "http://192.0.2.1:1"}
    ),
    "a proxy of the cluster, and a plugin": one(
        {"server": "https://api.test:6443", "proxy-url": "http://$proxy"},
        plugin(provideClusterInfo=True),
        plugin=answers(token="t"),
    ),
    "a proxy of another scheme": one({"proxy-url": "ftp://$proxy"}),
    "a proxy without a scheme in the cluster": one({"proxy-url": "$proxy"}),
    "a long label through a proxy": one(
        {
            "server": f"https://{'a' * 64}.test",
            "proxy-url": "http://$proxy",
            "tls-server-name": "api.test",
        }
    ),
}
CASES = {**MERGED, **TEXTS, **SERVERS, **USERS, **PLUGINS, **PROXIES}

ADDRESS = "10.243.0.1"


@pytest.fixture(scope="module")
def site(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    network.add_address(ADDRESS)
    site = Site(ADDRESS, tmp_path_factory.mktemp("kubeconfigs") / "case", binaries.kubectl)
    yield site
    site.close()
    network.remove_address(ADDRESS)


@pytest.mark.parametrize("name", CASES)
async def test_what_kubectl_sends_is_sent(site: Site, name: str) -> None:
    case = CASES[name]
    kubectl = site.by_kubectl(case)
    ours = await site.by_lookaside(case)
    if case.refused:
        assert not ours.answered
        assert case.refused in ours.error
        assert not ours.requests
        return
    assert ours == kubectl, f"lookaside: {ours.error!r}; kubectl: {kubectl.error!r}"
    if not ours.answered:
        assert ours.error


async def test_a_user_without_credentials_is_anonymous_where_kubectl_asks_for_some(
    site: Site,
) -> None:
    case = one(user={})
    kubectl, ours = site.by_kubectl(case), await site.by_lookaside(case)
    assert "EOF" in kubectl.error
    assert not kubectl.requests
    assert ours.answered
    assert ours.requests == [("https", "/livez", "", "", "True")]
