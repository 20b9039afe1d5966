"""Lines out of a byte stream, of any length. Pure."""

from __future__ import annotations

from fairway.base.errors import Retry

MAX_LINE = 64 * 1024 * 1024
"""Bytes; far above an API server's limit for one object (1.5 MiB in etcd), it bounds what a stream may make us hold."""


class LineBuffer:
    """Collects chunks and hands out whole lines.

    A rest without a newline at the end of a stream is half an object: it is never handed out.
    """

    def __init__(self, *, limit: int = MAX_LINE) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = limit

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines this chunk completes, without their newlines, blank ones left out.

        Raises Retry where a line is longer than the limit.
        """
        head, newline, tail = chunk.partition(b"\n")
        if not newline:
            self._keep(chunk)
            return []
        *whole, rest = tail.split(b"\n")
        lines = [b"".join((*self._parts, head)), *whole]
        self._parts, self._size = [], 0
        self._keep(rest)
        return [line for line in lines if line.strip()]

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._limit:
            raise Retry(f"a line of the watch is longer than {self._limit} bytes", after_s=1.0)
