"""What can be set of a Kubernetes source."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lookaside.config import Settings, load
from lookaside.errors import ConfigError


def test_the_defaults() -> None:
    settings = Settings()

    assert (settings.pods, settings.pod_selector, settings.metadata_labels) == (False, None, ())
    assert settings.address_family == "IPv4"
    assert (settings.debounce, settings.mass_removal) == (0.0, 50)


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        ({"pods": "true"}, "pods", True),
        ({"pods": "yes", "pod_selector": "app in (a, b)"}, "pod_selector", "app in (a, b)"),
        (
            {"pods": "on", "metadata_label": ["version", "example.com/team"]},
            "metadata_labels",
            ("version", "example.com/team"),
        ),
        ({"address_family": "ipv6"}, "address_family", "IPv6"),
        ({"address_family": "IPv4"}, "address_family", "IPv4"),
        ({"debounce": "250ms"}, "debounce", 0.25),
        ({"mass_removal": "0"}, "mass_removal", 0),
        ({"mass_removal": "30%"}, "mass_removal", 30),
        ({"mass_removal": "100"}, "mass_removal", 100),
    ],
)
def test_good_values(flags: Mapping[str, str | Sequence[str]], field: str, value: object) -> None:
    assert getattr(load(flags, {}), field) == value


@pytest.mark.parametrize(
    ("flag", "text", "sentence"),
    [
        ("pods", "some", "--pods 'some': expected true or false"),
        (
            "pod_selector",
            "app=",
            "pod_selector is given without pods, which it selects from",
        ),
        (
            "pod_selector",
            "a b",
            (
                "--pod-selector 'a b': expected a label selector such as app=web,tier!=test or "
                "'app in (a, b)'"
            ),
        ),
        (
            "metadata_label",
            "a=b",
            (
                "--metadata-label 'a=b': expected the name of a label, such as version or "
                "app.kubernetes.io/version"
            ),
        ),
        (
            "metadata_label",
            "zone",
            (
                "--metadata-label 'zone': expected another label than zone, which metadata has of "
                "itself"
            ),
        ),
        ("address_family", "IPv5", "--address-family 'IPv5': expected IPv4 or IPv6"),
        (
            "debounce",
            "-1",
            "--debounce '-1': expected seconds, or a number with a unit as in 500ms, 30s, 5m or 1h",
        ),
        ("mass_removal", "101", "--mass-removal '101': expected a share in percent, 0 to 100"),
        ("mass_removal", "half", "--mass-removal 'half': expected a share in percent, 0 to 100"),
        ("mass_removal", "-5", "--mass-removal '-5': expected a share in percent, 0 to 100"),
    ],
)
def test_a_bad_value_is_one_sentence(flag: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({flag: text}, {})

    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            {"metadata_label": ["version"]},
            "metadata_label is given without pods, whose labels they are",
        ),
        (
            {"pods": "false", "pod_selector": "app=web"},
            "pod_selector is given without pods, which it selects from",
        ),
    ],
)
def test_labels_need_pods(flags: Mapping[str, str | Sequence[str]], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(flags, {})

    assert str(refused.value) == sentence


def test_labels_are_several_in_a_variable_and_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lookaside.yaml"
    file.write_text("pods: true\nmetadata_label: [version, team]\n")

    assert load({}, {}, file).metadata_labels == ("version", "team")
    environ = {"LOOKASIDE_METADATA_LABEL": "a, b", "LOOKASIDE_POD_SELECTOR": "x=y,z"}
    settings = load({}, environ, file)
    assert (settings.metadata_labels, settings.pod_selector) == (("a", "b"), "x=y,z")


@pytest.mark.parametrize("source", ["file:a", "dns:a:1"])
@pytest.mark.parametrize(("key", "text"), [("namespace", "shop"), ("pods", "true")])
def test_a_setting_for_a_cluster_needs_a_cluster(source: str, key: str, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({"source": [source], key: text}, {})

    assert str(refused.value) == (
        f"{key} has no effect without --source kubernetes; add that, or leave {key} out"
    )
    load({"source": [source, "kubernetes"], key: text}, {})


def test_a_family_is_for_clusters_and_for_names_in_dns() -> None:
    with pytest.raises(ConfigError) as refused:
        load({"source": ["file:a"], "address_family": "IPv6"}, {})
    assert str(refused.value) == (
        "address_family has no effect without --source kubernetes or dns; add one, or leave "
        "address_family out"
    )
    for source in ("kubernetes", "dns:a:1"):
        settings = load({"source": ["file:a", source], "address_family": "IPv6"}, {})
        assert settings.address_family == "IPv6"


@pytest.mark.parametrize("key", ["kubeconfig", "context"])
def test_a_way_to_a_cluster_needs_one_to_be_asked(key: str) -> None:
    flags = {"source": ["file:a"], key: "here"}
    with pytest.raises(ConfigError) as refused:
        load(flags, {})

    assert str(refused.value) == (
        f"{key} has no effect without --source kubernetes or token_audience; add one, or leave "
        f"{key} out"
    )
    load({**flags, "source": ["file:a", "kubernetes"]}, {})
    load({**flags, "token_audience": "lb", "allow": ["*=."]}, {})


def test_what_tunes_one_kind_of_source_may_be_set_for_all() -> None:
    tuned = {"debounce": "1s", "mass_removal": "30", "dns_interval": "5s"}

    assert load({"source": ["file:a"], **tuned}, {}).mass_removal == 30
