"""The source that reads an endpoints file, over real files."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import structlog

from lookaside.errors import ConfigError
from lookaside.model import ServiceKey, ServiceRecord
from lookaside.registry.steps import Steps
from lookaside.sources.static_file import StaticFileSource

BOUND = 20.0


def file_of(*addresses: str) -> str:
    endpoints = "".join(f"      - address: {address}\n" for address in addresses)
    return f"services:\n  a:\n    endpoints:\n{endpoints}"


class Recorder:
    """A feed and an observer that remember, and let a test wait for what comes."""

    def __init__(self) -> None:
        self.views: list[list[str]] = []
        self.stale = False
        self.contacts = 0
        self.errors: list[str] = []
        self.now = 1000.0
        self._told = asyncio.Condition()
        self.tasks: set[asyncio.Task[None]] = set()

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        assert (version, epoch) == (0, "")
        self.views.append([each.target for record in records for each in record.endpoints[""]])
        self._tell()

    def replacing(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> Steps[None]:
        raise AssertionError

    def update(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], *, version: int, at: float
    ) -> None:
        raise AssertionError

    def advance(self, version: int) -> None:
        raise AssertionError

    def set_missing(self, namespaces: Mapping[str, str]) -> None:
        raise AssertionError

    def set_lost(self, namespaces: Mapping[str, str]) -> None:
        raise AssertionError

    def follow_absences(self, absence: Callable[[ServiceKey], str]) -> None:
        raise AssertionError

    def set_stale(self, stale: bool) -> None:
        self.stale = stale
        self._tell()

    def source_contact(self, source: str) -> None:
        assert source == "file"
        self.contacts += 1
        self._tell()

    def source_error(self, source: str, reason: str) -> None:
        assert source == "file"
        self.errors.append(reason)
        self._tell()

    def refused(self, kind: str, annotation: str) -> None:
        raise AssertionError

    def clock(self) -> float:
        return self.now

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND), self._told:
            await self._told.wait_for(condition)

    async def until_view(self, *addresses: str) -> None:
        await self.until(lambda: self.views[-1:] == [list(addresses)])

    def _tell(self) -> None:
        task = asyncio.ensure_future(self._notify())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _notify(self) -> None:
        async with self._told:
            self._told.notify_all()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def source_of(path: Path, recorder: Recorder, *, poll: float = 30.0) -> StaticFileSource:
    return StaticFileSource(
        "file", path, recorder, recorder, stale_after=60, poll=poll, clock=recorder.clock
    )


@asynccontextmanager
async def running(source: StaticFileSource) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(source.run())
    try:
        yield task
    finally:
        task.cancel()
        async with asyncio.timeout(BOUND):
            with suppress(asyncio.CancelledError):
                await task


async def first_failure(source: StaticFileSource) -> str:
    async with asyncio.timeout(BOUND):
        with pytest.raises(ConfigError) as refused:
            await source.run()
    return str(refused.value)


def swap(path: Path, text: str) -> None:
    """Put another file in the place of one, as editors do."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


class ConfigMap:
    """A volume as the kubelet writes it: files are links through ``..data``, which is swapped."""

    def __init__(self, directory: Path, text: str) -> None:
        self._directory = directory
        self._generation = 0
        self.write(text)
        self.path = directory / "endpoints.yaml"
        self.path.symlink_to(Path("..data") / "endpoints.yaml")

    def write(self, text: str) -> None:
        self._generation += 1
        fresh = self._directory / f"..2026_01_01_00_00_0{self._generation}.123456789"
        fresh.mkdir()
        (fresh / "endpoints.yaml").write_text(text)
        data, new = self._directory / "..data", self._directory / "..data_tmp"
        old = data.resolve() if data.is_symlink() else None
        new.symlink_to(fresh.name)
        new.replace(data)
        if old is not None:
            (old / "endpoints.yaml").unlink()
            old.rmdir()


async def test_the_first_read_ends_the_initial_sync(tmp_path: Path, recorder: Recorder) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("10.0.0.2:1", "10.0.0.1:1"))

    async with running(source_of(path, recorder)):
        await recorder.until_view("10.0.0.1:1", "10.0.0.2:1")
        await recorder.until(lambda: recorder.contacts > 0)

    assert recorder.errors == []


async def test_a_good_file_is_prepared_for_and_not_yet_published(
    tmp_path: Path, recorder: Recorder
) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("10.0.0.1:1"))
    source = source_of(path, recorder)

    await source.prepare()

    assert recorder.contacts == 0
    async with running(source):
        await recorder.until_view("10.0.0.1:1")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.yaml", ": can't read the endpoints file: No such file or directory"),
        ("no/none.yaml", ": can't read the endpoints file: No such file or directory"),
        ("empty.yaml", ":1:1: the file is empty; expected the key 'services'"),
    ],
)
async def test_a_bad_file_is_refused_before_it_runs(
    tmp_path: Path, recorder: Recorder, name: str, sentence: str
) -> None:
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ConfigError) as caught:
        await source_of(tmp_path / name, recorder).prepare()
    assert str(caught.value) == f"{tmp_path / name}{sentence}"


def written_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def swapped(path: Path, text: str) -> None:
    swap(path, text)


def deleted_and_recreated(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("change", [written_in_place, swapped, deleted_and_recreated])
async def test_a_change_is_served(
    tmp_path: Path, recorder: Recorder, change: Callable[[Path, str], None]
) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("a:1"))

    async with running(source_of(path, recorder)):
        await recorder.until_view("a:1")
        for text, address in ((file_of("b:1"), "b:1"), (file_of("c:1"), "c:1")):
            change(path, text)
            await recorder.until_view(address)


async def test_a_config_map_is_followed_through_its_swaps(
    tmp_path: Path, recorder: Recorder
) -> None:
    volume = ConfigMap(tmp_path, file_of("a:1"))

    async with running(source_of(volume.path, recorder)):
        await recorder.until_view("a:1")
        for address in ("b:1", "c:1", "d:1"):
            volume.write(file_of(address))
            await recorder.until_view(address)

    assert recorder.errors == []


async def test_a_change_right_after_the_first_read_is_not_missed(
    tmp_path: Path, recorder: Recorder
) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("a:1"))
    source = source_of(path, recorder)
    replace = recorder.replace

    def replace_then_change(
        records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        replace(records, version=version, epoch=epoch, at=at)
        if len(recorder.views) == 1:
            path.write_text(file_of("b:1"))

    recorder.replace = replace_then_change  # type: ignore[method-assign]
    async with running(source):
        await recorder.until_view("b:1")


async def test_what_says_the_same_is_not_published_again(
    tmp_path: Path, recorder: Recorder
) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("a:1"))

    async with running(source_of(path, recorder)):
        await recorder.until_view("a:1")
        contacts = recorder.contacts
        swap(path, file_of("a:1"))
        await recorder.until(lambda: recorder.contacts > contacts)

    assert recorder.views == [["a:1"]]


@pytest.mark.parametrize("broken", ["services: [", file_of("a:0"), ""])
async def test_a_broken_file_leaves_the_last_good_list(
    tmp_path: Path, recorder: Recorder, broken: str
) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("a:1"))

    source = source_of(path, recorder)
    with structlog.testing.capture_logs() as logs:
        async with running(source):
            await recorder.until_view("a:1")
            swap(path, broken)
            await recorder.until(lambda: recorder.errors == ["invalid"])
            assert recorder.views == [["a:1"]]
            assert not recorder.stale
            assert source.trouble.startswith(f"{path}:")
            swap(path, file_of("b:1"))
            await recorder.until_view("b:1")
            assert source.trouble == ""

    [complaint] = [each for each in logs if each["log_level"] == "error"]
    assert complaint["event"] == "the last good list stays served"
    assert complaint["reason"].startswith(f"{path}:")


async def test_a_file_that_is_gone_leaves_the_last_good_list(
    tmp_path: Path, recorder: Recorder
) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("a:1"))

    async with running(source_of(path, recorder)):
        await recorder.until_view("a:1")
        path.unlink()
        await recorder.until(lambda: recorder.errors == ["unreadable"])
        path.write_text(file_of("b:1"))
        await recorder.until_view("b:1")


async def test_a_list_is_stale_once_its_file_was_broken_for_too_long(
    tmp_path: Path, recorder: Recorder
) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("a:1"))

    async with running(source_of(path, recorder, poll=0.05)):
        await recorder.until_view("a:1")
        swap(path, "no")
        await recorder.until(lambda: recorder.errors == ["invalid"])
        assert not recorder.stale
        recorder.now += 60
        await recorder.until(lambda: recorder.stale)
        swap(path, file_of("a:1"))
        await recorder.until(lambda: not recorder.stale)

    assert recorder.views == [["a:1"]]
    assert recorder.errors == ["invalid"]


async def test_a_file_behind_a_link_to_elsewhere_is_found_by_looking(
    tmp_path: Path, recorder: Recorder
) -> None:
    (tmp_path / "here").mkdir()
    target = tmp_path / "endpoints.yaml"
    target.write_text(file_of("a:1"))
    path = tmp_path / "here" / "endpoints.yaml"
    path.symlink_to(target)

    async with running(source_of(path, recorder, poll=0.05)):
        await recorder.until_view("a:1")
        swap(target, file_of("b:1"))
        await recorder.until_view("b:1")


async def test_a_directory_that_is_replaced_is_watched_anew(
    tmp_path: Path, recorder: Recorder
) -> None:
    directory = tmp_path / "etc"
    directory.mkdir()
    path = directory / "endpoints.yaml"
    path.write_text(file_of("a:1"))

    async with running(source_of(path, recorder, poll=0.05)):
        await recorder.until_view("a:1")
        directory.rename(tmp_path / "old")
        await recorder.until(lambda: "unreadable" in recorder.errors)
        await recorder.until(lambda: "watch" in recorder.errors)
        directory.mkdir()
        path.write_text(file_of("b:1"))
        await recorder.until_view("b:1")
        path.write_text(file_of("c:1"))
        await recorder.until_view("c:1")


async def test_a_relative_path_is_read(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("a:1"))

    async with running(source_of(Path(path.name), recorder)):
        await recorder.until_view("a:1")
        swap(path, file_of("b:1"))
        await recorder.until_view("b:1")


async def test_a_first_file_that_is_broken_is_refused(tmp_path: Path, recorder: Recorder) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text("services:\n  a: 1\n")

    sentence = await first_failure(source_of(path, recorder))

    assert sentence == f"{path}:2:6: service 'a' is '1'; expected a mapping"
    assert recorder.views == []


async def test_a_first_file_that_is_missing_is_refused(tmp_path: Path, recorder: Recorder) -> None:
    path = tmp_path / "endpoints.yaml"

    sentence = await first_failure(source_of(path, recorder))

    assert sentence == f"{path}: can't read the endpoints file: No such file or directory"


async def test_a_directory_that_is_missing_is_refused(tmp_path: Path, recorder: Recorder) -> None:
    path = tmp_path / "no" / "endpoints.yaml"

    sentence = await first_failure(source_of(path, recorder))

    assert sentence == f"{path}: can't watch its directory: no such directory"


async def test_it_ends_when_cancelled_and_leaves_nothing_open(
    tmp_path: Path, recorder: Recorder
) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(file_of("a:1"))
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()

    for _ in range(5):
        async with running(source_of(path, recorder)):
            await recorder.until_view("a:1")
        recorder.views.clear()

    assert asyncio.all_tasks() - recorder.tasks <= tasks
    async with asyncio.timeout(BOUND):
        # The watch's own thread closes its descriptors a moment later.
        while open_descriptors() > descriptors:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_repr_says_what_it_does(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"

    async def run() -> list[str]:
        recorder = Recorder()
        source = source_of(path, recorder)
        seen = [repr(source)]
        path.write_text(file_of("a:1"))
        async with running(source):
            await recorder.until_view("a:1")
            seen.append(repr(source))
            path.unlink()
            await recorder.until(lambda: bool(recorder.errors))
            seen.append(repr(source))
        return seen

    assert asyncio.run(run()) == [
        f"<StaticFileSource {path} unread>",
        f"<StaticFileSource {path} 1 services>",
        f"<StaticFileSource {path} 1 services, last read failed>",
    ]
