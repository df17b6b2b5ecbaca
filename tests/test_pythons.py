import sys

from tests.pythons import PROJECT, ROOT, find, supported

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_both_packages_support_the_same_pythons_and_this_one_is_among_them() -> None:
    versions = supported(PROJECT)
    assert supported(ROOT / "client_resolver" / "pyproject.toml") == versions
    assert OWN in versions


def test_an_interpreter_that_is_there_is_found_and_others_are_not() -> None:
    assert find(OWN)
    assert find("3.0") is None
