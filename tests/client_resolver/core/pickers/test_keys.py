import os
import subprocess
import sys

import pytest

from client_resolver.core.pickers.keys import backend_key, hash_header
from tests.client_resolver.core.pickers.fakes import FakeBackend


@pytest.mark.parametrize(
    ("metadata", "name", "key"),
    [
        ((), "", "a:1"),
        ((), "shard", "a:1"),
        ((("shard", "7"),), "", "a:1"),
        ((("zone", "b"), ("shard", "7")), "shard", "7"),
        ((("shard", ""),), "shard", "a:1"),
    ],
)
def test_a_backend_is_hashed_by_its_address_or_by_metadata(
    metadata: tuple[tuple[str, str], ...], name: str, key: str
) -> None:
    assert backend_key(FakeBackend("a:1", metadata=metadata), name) == key


def test_the_header_is_read_in_lower_case() -> None:
    assert hash_header({"requestHashHeader": "X-User"}) == "x-user"
    assert hash_header({}) == ""


@pytest.mark.parametrize("header", ["user-bin", "user id", "käse", 7])
def test_a_header_that_is_no_name_of_text_is_refused(header: object) -> None:
    with pytest.raises(ValueError, match="requestHashHeader is"):
        hash_header({"requestHashHeader": header})


_PICKS = """
from random import Random
from client_resolver.core.pickers import policy_named
from tests.client_resolver.core.pickers.fakes import backends
keys = [2**64 // 100 * n for n in range(100)]
some = backends(3, 1, 2)
{shuffle}
for name in ("ring_hash", "maglev"):
    picker = policy_named(name).build(some, Random(), float, None)
    print(name, *(picker.pick(key).address for key in keys))
"""


def test_every_process_sends_a_key_to_the_same_backend() -> None:
    def picks(seed: str, shuffle: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", _PICKS.format(shuffle=shuffle)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout

    here = picks("1", "")
    assert len(set(here.split())) == 3 + 2
    assert picks("2", "some.reverse()") == here
