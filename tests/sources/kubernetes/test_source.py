"""The source as a whole; how it weathers faults is told under tests/faults."""

from pathlib import Path

import pytest

from lookaside.errors import ConfigError
from lookaside.sources import Source
from lookaside.sources.kubernetes import Client, Kubeconfig, KubernetesSource
from tests.faults.recording import RecordingFeed, RecordingObserver


@pytest.fixture
def source(tmp_path: Path) -> KubernetesSource:
    client = Client(Kubeconfig(tmp_path / "none"))
    return KubernetesSource("east", RecordingFeed(), RecordingObserver(), client)


def test_it_is_a_source(source: Source) -> None:
    assert source.name == "east"


def test_it_knows_nothing_at_first(source: KubernetesSource) -> None:
    assert not source.synced
    assert source.age() is None
    assert (
        "'east' not synced, endpointslices, services to come, version 0 of 'kubernetes', "
        "no contact yet"
    ) in repr(source)


async def test_no_credentials_to_begin_with_is_a_configuration_error(
    source: KubernetesSource,
) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        await source.prepare()
