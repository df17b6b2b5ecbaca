"""What holds for every test: how Hypothesis works, the collector, names, proxies, and Ctrl-C.

Hypothesis works alike on each machine and each time. Which examples are tried follows from the test
alone, and none is judged by how long it takes. A failure is told at once, with what reproduces it;
it isn't made smaller, which may take minutes and run into the test's time limit.
`pytest --hypothesis-profile=shrink` makes it smaller.
"""

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=(HealthCheck.too_slow,),
)
settings.register_profile("shrink", settings.get_profile("repeatable"), phases=tuple(Phase))
settings.load_profile("repeatable")


LONGEST = (
    "conformance/test_matrix.py",
    "conformance/test_cancellations.py",
    "client_resolver/sync/test_interruptions.py",
    "conformance/test_rolling.py",
    "conformance/test_balancer_outage.py",
    "test_app.py",
    "registry/test_history.py",
    "examples/test_clients.py",
    "test_fuzz.py",
    "conformance/test_readme.py",
    "conformance/test_resolution.py",
    "conformance/test_faults.py",
    "conformance/test_close.py",
    "client_resolver/core/test_pool_properties.py",
    "faults/test_attacks.py",
)
"""Files that take long. They are begun first: several processes take turns at files, and would wait
at the end for one that has just begun such a file."""


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy")


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> Iterator[None]:
    """Reach servers on loopback without the proxy that the environment may name."""
    with pytest.MonkeyPatch.context() as patch:
        for name in PROXIES:
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield


def pytest_configure() -> None:
    """Have Ctrl-C end the processes that tests start.

    A shell has what it runs in the background ignore SIGINT, and each process hands that on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, and refuse names that differ between runs, for processes to share.

    Raises:
        pytest.UsageError: A test's name has the address of an object.
    """
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: give its parameters ids that stay")
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Have the collector pass over what lives as long as the run: modules, and thousands of tests.

    Many tests collect until something is gone. Each time, it would look at all of these.
    """
    gc.collect()
    gc.freeze()
