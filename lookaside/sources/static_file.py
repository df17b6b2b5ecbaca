"""A source that serves the endpoints of a YAML file, and rereads it when it changes."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, awatch

from lookaside.config import document
from lookaside.errors import ConfigError
from lookaside.logging import get_logger
from lookaside.model import ServiceRecord
from lookaside.sources import Feed, SourceObserver
from lookaside.sources.endpoints_file import parse

# A change is read once the directory has been quiet for the step, or at the latest after the
# debounce, so that a file that is written in pieces is seldom seen half.
_STEP_MS = 25
_DEBOUNCE_MS = 250
_REASONS = frozenset({"unreadable", "invalid", "watch"})


@dataclass(frozen=True, slots=True)
class _Good:
    """The last contents that were read without an error."""

    text: str
    records: list[ServiceRecord]


class StaticFileSource:
    """Serves what an endpoints file says.

    The first read must succeed. Later, a file that is broken or gone changes nothing: the last good
    list stays, the log says why, and after `stale_after` it is marked stale.

    The directory is watched, not the file: a ConfigMap's files are symbolic links that never change
    while ``..data`` beside them is swapped, and editors rename. What file system events miss (NFS,
    a directory that is replaced, a link to elsewhere) is found by a look every `poll` seconds.

    Args:
        name: The source's name.
        path: The file.
        feed: Where its services go.
        observer: Receives each check that confirms the list, and failures: ``unreadable``,
            ``invalid``, ``watch``.
        default_namespace: The namespace of a service that is written without one.
        cluster_domain: The domain that full service names end in.
        stale_after: Seconds that the file may be broken or gone until its list is stale.
        poll: Seconds between looks where no event comes.
        clock: Seconds of a monotonic clock.

    Attributes:
        name: The source's name.
        reasons: The words of all that can fail.
        trouble: Why the file as it is now was refused; "" while it is good.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        feed: Feed,
        observer: SourceObserver,
        *,
        default_namespace: str = "default",
        cluster_domain: str = "cluster.local",
        stale_after: float = 60.0,
        poll: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.reasons = _REASONS
        self.trouble = ""
        self._path = path
        self._feed = feed
        self._observer = observer
        self._default_namespace = default_namespace
        self._cluster_domain = cluster_domain
        self._stale_after = stale_after
        self._poll = poll
        self._clock = clock
        self._log = get_logger("sources.file")
        self._good: _Good | None = None
        self._seen: tuple[int, ...] | None = None
        self._bad_since: float | None = None

    def __repr__(self) -> str:
        state = "unread" if self._good is None else f"{len(self._good.records)} services"
        bad = "" if self._bad_since is None else ", last read failed"
        return f"<StaticFileSource {self._path} {state}{bad}>"

    def trouble_in(self, _namespace: str) -> str:
        """Return why what it knows of a namespace can't be confirmed just now; "" where it can."""
        return self.trouble

    async def prepare(self) -> None:
        """Read the file, and publish nothing yet.

        Raises:
            ConfigError: It can't be read, or is wrong; the text names the file, and line and column
                of what is wrong.
        """
        await asyncio.to_thread(self._read)

    async def run(self) -> None:
        """Feed the store until cancelled.

        Raises:
            ConfigError: The first read failed; the text names the file, and line and column of
                what is wrong.
        """
        while True:
            try:
                await self._watch()
            except ConfigError:
                raise
            # watchfiles raises more than OSError, and without it there is the look at intervals.
            except Exception as error:
                if self._good is None:
                    reason = getattr(error, "strerror", None) or error
                    raise ConfigError(
                        f"{self._path}: can't watch its directory: {reason}"
                    ) from error
                self._observer.source_error(self.name, "watch")
            await asyncio.sleep(self._poll)
            await self._look(certain=False)

    async def _watch(self) -> None:
        """Look at once, then on every event; return when the directory is another one."""
        directory = _identity(self._path.parent)
        if directory is None:
            raise FileNotFoundError(2, "no such directory")
        events = awatch(
            self._path.parent,
            watch_filter=self._concerns,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=int(self._poll * 1000),
            yield_on_timeout=True,
            recursive=False,
        )
        async with aclosing(events):
            # The watch begins with the first step of the generator: so before the first read.
            event = asyncio.ensure_future(anext(events))
            try:
                await asyncio.sleep(0)
                await self._look(certain=True)
                while _identity(self._path.parent) == directory:
                    changes = await event
                    event = asyncio.ensure_future(anext(events))
                    await self._look(certain=bool(changes))
            finally:
                event.cancel()
                await asyncio.wait([event])

    def _concerns(self, _change: Change, path: str) -> bool:
        name = Path(path).name
        return name == self._path.name or name.startswith("..")

    async def _look(self, *, certain: bool) -> None:
        """Read the file if it changed.

        Args:
            certain: Read it whatever its status says: two writes within one tick of the file
                system's clock leave the same.
        """
        seen = _identity(self._path)
        if certain or seen != self._seen:
            self._seen = seen
            at = self._clock()
            try:
                good = await asyncio.to_thread(self._read)
            except ConfigError as error:
                if self._good is None:
                    raise
                self._failed("invalid" if seen else "unreadable", error)
            else:
                self._succeeded(good, at)
        if self._bad_since is None:
            self._observer.source_contact(self.name)
        elif self._clock() - self._bad_since >= self._stale_after:
            self._feed.set_stale(True)

    def _read(self) -> _Good:
        text = document.load(self._path, "the endpoints file")
        if self._good is not None and text == self._good.text:
            return self._good
        try:
            records = parse(
                text,
                str(self._path),
                default_namespace=self._default_namespace,
                cluster_domain=self._cluster_domain,
            )
        except ConfigError:
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ConfigError(f"{self._path}: can't be read: {reason}") from error
        return _Good(text, records)

    def _succeeded(self, good: _Good, at: float) -> None:
        if self._bad_since is not None:
            self._bad_since, self.trouble = None, ""
            self._log.info("the file is good again", path=str(self._path))
            self._feed.set_stale(False)
        if good is self._good:
            return
        self._good = good
        self._feed.replace(good.records, version=0, epoch="", at=at)
        self._log.info(
            "file read",
            path=str(self._path),
            services=len(good.records),
            endpoints=sum(len(record.endpoints[""]) for record in good.records),
        )

    def _failed(self, reason: str, error: ConfigError) -> None:
        if self._bad_since is None:
            self._bad_since = self._clock()
        if str(error) == self.trouble:
            return
        self.trouble = str(error)
        self._observer.source_error(self.name, reason)
        self._log.error("the last good list stays served", reason=str(error))


def _identity(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is written or another takes its place; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    if path.is_dir():
        return status.st_dev, status.st_ino
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
