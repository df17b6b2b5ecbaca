"""Tests go by what users can see: they read no private member of the two packages."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
OWN: Final = ("lookaside", "client_resolver")
SUSPECT: Final = re.compile(
    r"""(?<!self)(?<!cls)\._[a-z] | import\ .*\b_[a-z] | ^\s+_[a-z]\w*,$ | getattr\(.*"_[a-z]""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
"""What a file has in it that reads a private member. The others needn't be parsed."""


def texts(folder: str) -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        if "_pb" not in path.parts:
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_pb"


OURS: Final = frozenset(
    name
    for package in ("lookaside", "client_resolver/client_resolver")
    for _, text in texts(package)
    for name in re.findall(r"\b_[A-Za-z]\w*", text)
)
"""The private names that our packages use."""


def reads(tree: ast.Module) -> Iterator[str]:
    """The private names of ours that a test reads from something that isn't its own `self`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if is_private(name) and name in OURS:
                yield ast.unparse(node)
            case ast.ImportFrom(module=str() as module) if module.partition(".")[0] in OWN:
                yield from (f"{module}.{one.name}" for one in node.names if is_private(one.name))
            case ast.Call(
                func=ast.Name(id="getattr"), args=[of, ast.Constant(value=str() as name), *_]
            ):
                if name in OURS:
                    yield f"{ast.unparse(of)}.{name}"


FOREIGN: Final = {
    "tests/client_resolver/aio": {"grpc.aio._call"},
    "tests/client_resolver/sync": {"channel._channel", "condition._lock"},
    "tests/conformance": {"details._replace"},
    "tests/faults": {"events.Handle._run"},
}
"""What others name as we do: members of grpc's, asyncio's and of the standard library's classes."""

PENDING: Final = {
    "tests/api": {"balancer.server._bind"},
    "tests/api/xds": {"self.session._types"},
    "tests/client_resolver": {
        "metrics._adding",
        "metrics._attempts_ended",
        "metrics._losses",
        "metrics._noted",
        "metrics._process",
        "metrics._rpcs_ended",
    },
    "tests/client_resolver/aio": {"channel._driver"},
    "tests/client_resolver/sync": {"call._inner", "channel._driver", "failing.handle._lock"},
    "tests/conformance": {"client.channel._driver"},
    "tests/registry": {"contributions._member"},
}
"""What the tests of a folder read still."""


def test_no_test_reads_a_private_member() -> None:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, text in texts("tests"):
        for read in reads(ast.parse(text)) if SUSPECT.search(text) else ():
            folder = path.rpartition("/")[0]
            if read not in FOREIGN.get(folder, set()) | PENDING.get(folder, set()):
                found[path].add(read)
    assert found == {}


def test_the_rule_finds_each_way_to_read_one() -> None:
    text = """
from client_resolver.core.watch import _same
channel._driver
client.channel._driver.pending
getattr(channel, "_driver")
self._driver
names._asdict
"""
    assert sorted(reads(ast.parse(text))) == [
        "channel._driver",
        "channel._driver",
        "client.channel._driver",
        "client_resolver.core.watch._same",
    ]
