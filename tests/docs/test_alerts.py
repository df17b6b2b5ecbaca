"""Each alert of the chart has a section that says what to do, and no section is of another."""

import re
from typing import Final

import yaml

from tests.docs.fences import DOCS, ROOT

_SECTION: Final = re.compile(
    r"^### (?P<name>Lookaside\w+)\n\n\*(?P<severity>\w+)\.\* ", re.MULTILINE
)
_PAGE: Final = (DOCS / "operations.md").read_text()


def _alerts() -> dict[str, str]:
    """Return the severity of each alert."""
    rules = yaml.safe_load((ROOT / "helm" / "lookaside" / "rules" / "alerts.yaml").read_text())
    return {
        rule["alert"]: rule["labels"]["severity"]
        for group in rules["groups"]
        for rule in group["rules"]
    }


def test_each_alert_has_a_section_with_its_severity() -> None:
    assert dict(_SECTION.findall(_PAGE)) == _alerts()


def test_every_alert_that_is_named_is_one_of_the_chart() -> None:
    named = re.findall(r"\bLookaside[A-Z]\w+", _PAGE)
    assert set(named) == _alerts().keys()
