import pytest
from yarl import URL

from lookaside.errors import ConfigError
from lookaside.sources.kubernetes.api.proxies import environment_proxy, proxy_url

PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("no_proxy", "host", "straight"),
    [
        ("", "https://10.96.0.1", False),
        ("10.96.0.0/12", "https://10.96.0.1", True),
        ("10.96.0.7/12", "https://10.96.0.1", True),
        ("10.0.0.0/16", "https://10.96.0.1", False),
        ("10.96.0.0/33", "https://10.96.0.1", False),
        ("fd00::/8", "https://[fd00::1]:6443", True),
        ("10.96.0.1", "https://10.96.0.1:6443", True),
        ("10.96.0.1:6443", "https://10.96.0.1:6443", True),
        ("10.96.0.1:443", "https://10.96.0.1:6443", False),
        ("10.96.0.1:443", "https://10.96.0.1", True),
        ("10.96.0.1", "https://[::ffff:10.96.0.1]", True),
        ("[fd00::1]:6443", "https://[fd00::1]:6443", True),
        ("fd00::1", "https://[fd00::1]:6443", True),
        ("example.com", "https://example.com", True),
        ("example.com", "https://api.example.com", True),
        ("example.com", "https://notexample.com", False),
        ("EXAMPLE.com", "https://api.Example.COM", True),
        (".example.com", "https://api.example.com", True),
        (".example.com", "https://example.com", False),
        ("*.example.com", "https://api.example.com", True),
        ("*.example.com", "https://example.com", False),
        ("example.com:443", "https://example.com", True),
        ("example.com:8443", "https://example.com", False),
        (".svc, .cluster.local ,10.0.0.0/8", "https://kubernetes.default.svc", True),
        (" , :443 ,,", "https://example.com", False),
        ("*", "https://example.com", True),
        ("a,*", "https://10.0.0.1", True),
        ("10.0.0.0/8", "https://10.example.com", False),
        ("", "https://localhost:6443", True),
        ("", "https://127.0.0.2:6443", True),
        ("", "https://[::1]:6443", True),
        ("", "https://[::ffff:127.0.0.1]:6443", True),
        ("", "http://example.com", True),
    ],
)
def test_no_proxy_is_read_as_go_does(no_proxy: str, host: str, straight: bool) -> None:
    found = environment_proxy(URL(host), {**PROXY, "NO_PROXY": no_proxy})
    assert found == ("" if straight else "http://proxy:3128")


@pytest.mark.parametrize(
    ("environ", "server", "proxy"),
    [
        ({"https_proxy": "http://low:1"}, "https://api", "http://low:1"),
        ({"https_proxy": "http://low:1", **PROXY}, "https://api", "http://proxy:3128"),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": ""}, "https://api", "http://low:1"),
        ({"HTTP_PROXY": "http://plain:1"}, "https://api", ""),
        ({"HTTP_PROXY": "http://plain:1"}, "http://api", "http://plain:1"),
        ({"ALL_PROXY": "http://all:1"}, "https://api", ""),
        ({"HTTPS_PROXY": "proxy:3128"}, "https://api", "http://proxy:3128"),
        ({"HTTPS_PROXY": "proxy"}, "https://api", "http://proxy"),
        ({"HTTPS_PROXY": "https://me:pw@proxy"}, "https://api", "https://me:pw@proxy"),
        ({"no_proxy": "api", **PROXY}, "https://api", ""),
        ({"no_proxy": "api", "NO_PROXY": "other", **PROXY}, "https://api", "http://proxy:3128"),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], server: str, proxy: str) -> None:
    assert environment_proxy(URL(server), environ) == proxy


@pytest.mark.parametrize(
    ("environ", "server", "said"),
    [
        ({"HTTPS_PROXY": "socks5://proxy:1"}, "https://api", "HTTPS_PROXY names a SOCKS proxy"),
        ({"https_proxy": "ftp://proxy"}, "https://api", "HTTPS_PROXY has the scheme 'ftp'"),
        ({"HTTPS_PROXY": "http://[::1"}, "https://api", "HTTPS_PROXY is no URL"),
        ({"HTTPS_PROXY": "http://proxy:port"}, "https://api", "HTTPS_PROXY is no URL"),
        ({"HTTPS_PROXY": "http://"}, "https://api", "HTTPS_PROXY names no host"),
        ({"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, "http://api", "REQUEST_METHOD"),
    ],
)
def test_a_proxy_that_can_not_be_used_is_named(
    environ: dict[str, str], server: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        environment_proxy(URL(server), environ)


@pytest.mark.parametrize("scheme", ["socks5", "SOCKS5", "socks5h", "socks4"])
def test_a_socks_proxy_is_refused_by_name(scheme: str) -> None:
    with pytest.raises(ConfigError, match="proxy-url names a SOCKS proxy, which isn't supported"):
        proxy_url(f"{scheme}://me:secret@proxy:1080", "proxy-url")
