"""Lines out of chunks."""

from collections.abc import Iterator, Sequence

from lookaside.sources.kubernetes.api.errors import ResponseTooLarge

PORTION = 128 * 1024
"""Bytes of lines that are read in one go, and one line at least: some 3 ms."""

_LINES = 16


class LineBuffer:
    """Splits a byte stream into lines, and keeps the last, unfinished one.

    Args:
        limit: The longest line, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a chunk and return the lines that it ends; blank ones are left out.

        Raises:
            ResponseTooLarge: A line exceeds the limit. Lines before it in the same chunk are lost.
        """
        end = chunk.rfind(b"\n")
        if end < 0:
            self._keep(chunk)
            return []
        self._parts.append(chunk[:end])
        lines = b"".join(self._parts).split(b"\n")
        self._parts, self._size = [], 0
        self._keep(chunk[end + 1 :])
        if any(len(line) > self._limit for line in lines):
            raise ResponseTooLarge(f"a line of the watch is longer than {self._limit} bytes")
        return [line for line in lines if line and not line.isspace()]

    def rest(self) -> bytes:
        """Return what stands after the last line end, without blanks."""
        return b"".join(self._parts).strip()

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise ResponseTooLarge(f"a line of the watch is longer than {self._limit} bytes")
        self._parts.append(part)


def portions(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Return lines in their order, as many at a time as can be read in one go."""
    start = size = 0
    for end, line in enumerate(lines):
        size += len(line)
        if end > start and (size > PORTION or end - start >= _LINES):
            yield lines[start:end]
            start, size = end, len(line)
    if start < len(lines):
        yield lines[start:]
