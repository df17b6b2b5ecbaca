"""What holds for every test: how Hypothesis works, and what the garbage collector looks at.

Hypothesis works alike on each machine and each time. Which examples are tried follows from the test
alone, and none is judged by how long it takes. A failure is told at once, with what reproduces it;
it isn't made smaller, which may take minutes and run into the test's time limit.
`pytest --hypothesis-profile=shrink` makes it smaller.
"""

import gc
from collections.abc import Sequence

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


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Refuse names that differ between runs: processes that share the tests would not agree.

    Raises:
        pytest.UsageError: A test's name has the address of an object.
    """
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: give its parameters ids that stay")


def pytest_collection_finish() -> None:
    """Have the collector pass over what lives as long as the run: modules, and thousands of tests.

    Many tests collect until something is gone. Each time, it would look at all of these.
    """
    gc.collect()
    gc.freeze()
