"""The glossary says where in the code each term is."""

import ast
import re
from typing import Final

import pytest

from tests.docs.fences import DOCS, ROOT

_ROWS: Final = re.findall(
    r"^\| ([^|]+) \| [^|]+ \| `([\w/]+\.py)`(?: `(\w+)`)? \|$",
    (DOCS / "glossary.md").read_text(),
    re.MULTILINE,
)


def test_every_row_of_the_glossary_is_read() -> None:
    lines = (DOCS / "glossary.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|") and "`" in line]
    assert len(rows) == len(_ROWS) > 40


def test_each_term_has_one_meaning() -> None:
    terms = [term for term, _, _ in _ROWS]
    assert sorted(set(terms)) == sorted(terms)


@pytest.mark.parametrize(("term", "path", "name"), _ROWS)
def test_a_term_is_where_the_glossary_says(term: str, path: str, name: str) -> None:
    defined = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {one.id for one in targets if isinstance(one, ast.Name)}
    assert not name or name in defined, term
