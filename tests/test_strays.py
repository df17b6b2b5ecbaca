"""What finds stray exceptions finds them: else no test of the client would fail for one."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ASTRAY = """
import asyncio, logging, threading
from client_resolver.core.address import parse_address
from tests.strays import no_stray_exceptions, strays

def run(step):
    loop = asyncio.new_event_loop()
    step(loop)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

async def fails():
    raise LookupError("astray")

class Finalised:
    def __del__(self):
        raise LookupError("astray")

def test_callback():
    run(lambda loop: loop.call_soon(parse_address, ""))

def test_task():
    run(lambda loop: loop.create_task(fails()) and None)

def test_thread():
    thread = threading.Thread(target=parse_address, args=("",))
    thread.start()
    thread.join()

def test_finaliser():
    Finalised()

def test_log():
    try:
        parse_address("")
    except ValueError:
        logging.getLogger("grpc").exception("in a callback")

def test_nothing():
    pass
"""


def test_a_test_fails_in_which_an_exception_goes_astray(tmp_path: Path) -> None:
    module = tmp_path / "test_astray.py"
    module.write_text(ASTRAY)
    options = [
        "-p",
        "no:cacheprovider",
        "--color=no",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(tmp_path),
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, str(module)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    wrong = set(re.findall(r"^(?:FAILED|ERROR) .*::test_(\w+)", ran.stdout, re.MULTILINE))
    assert wrong == {"callback", "task", "thread", "finaliser", "log"}, ran.stdout + ran.stderr
