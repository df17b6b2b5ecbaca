import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, ListState, Revision, ServerList, SetAside
from client_resolver.resolver.cache_file import CacheFile, decode, encode, worth_keeping

TARGET = "lookaside://lb:50052/greeter"
LISTED = ServerList(
    endpoints=(
        Endpoint(parse_address("10.0.0.1:80"), 5, (("a", "1"),), "eu-1a", "n7"),
        Endpoint(parse_address("[fd00::1]:81")),
        Endpoint(parse_address("greeter.shop:82"), 0),
    ),
    state=ListState.PRESENT,
    revision=Revision("digest", 2**60 + 1, "epoch"),
    service_config='{"loadBalancingConfig": []}',
)


def altered(**fields: object) -> bytes:
    return json.dumps({**json.loads(encode(LISTED, TARGET)), **fields}).encode()


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = CacheFile(tmp_path / "list.json", TARGET)
    file.save(LISTED)
    assert file.load() == LISTED


def test_what_was_set_aside_is_not_kept() -> None:
    listed = replace(LISTED, set_aside=(SetAside("x", "bad"),))
    assert decode(encode(listed, TARGET), TARGET) == LISTED


def test_a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("an earlier one")
    with path.open() as earlier:
        CacheFile(path, TARGET).save(LISTED)
        assert earlier.read() == "an earlier one"
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_yet_is_nothing_to_warn_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "client_resolver"):
        assert CacheFile(tmp_path / "list.json", TARGET).load() is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "decode"),
        (encode(LISTED, TARGET)[:-20], "Unterminated"),
        (b"[" * 100_000, "recursion"),
        (b"[]", "the file is not a JSON object"),
        (altered(format=2), "its format is 2, and 1 is known"),
        (altered(target="lookaside://lb:50052/other"), "it is of the target"),
        (altered(endpoints=None), "endpoints is missing"),
        (altered(endpoints=[7]), "an endpoint is not a JSON object"),
        (altered(endpoints=[{"weight": 1}]), "address is missing"),
        (altered(endpoints=[{"address": "nonsense"}]), "'nonsense' is not HOST:PORT"),
        (altered(endpoints=[{"address": "a:1"}, {"address": "a:1"}]), "twice"),
        (altered(endpoints=[{"address": "a:1", "weight": -1}]), "weight is -1"),
        (altered(endpoints=[{"address": "a:1", "metadata": {"a": 1}}]), "a is 1"),
        (altered(state="GONE"), "state is 'GONE'"),
        (altered(revision={"version": -1}), "revision.version is -1"),
    ],
)
def test_a_file_that_is_of_no_use_is_a_warning(
    raw: bytes, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(raw)
    with caplog.at_level(logging.WARNING, "client_resolver"):
        assert CacheFile(path, TARGET).load() is None
    [record] = caplog.records
    assert why in record.getMessage()
    assert str(path) in record.getMessage()
    assert TARGET in record.getMessage()


def test_a_file_that_cannot_be_read_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "client_resolver"):
        assert CacheFile(tmp_path, TARGET).load() is None
    assert "can't be read" in caplog.text


def test_a_file_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "client_resolver"):
        CacheFile(tmp_path / "nowhere" / "list.json", TARGET).save(LISTED)
    assert "can't be written" in caplog.text


def test_a_write_that_fails_leaves_the_earlier_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CacheFile(tmp_path / "list.json", TARGET)
    file.save(LISTED)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    file.save(replace(LISTED, endpoints=LISTED.endpoints[:1]))
    assert file.load() == LISTED
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("listed", "kept"),
    [
        (LISTED, True),
        (None, False),
        (replace(LISTED, endpoints=()), False),
        (replace(LISTED, provisional=True), False),
    ],
)
def test_a_list_is_kept_if_a_client_could_start_with_it(
    listed: ServerList | None, kept: bool
) -> None:
    assert worth_keeping(listed) is kept
