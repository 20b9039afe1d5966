"""The log files of containers: written as they run, read and followed by the API server's `pods/log`."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from fairway.kubelet.cri import LineSplitter, LogOptions, Stream, decode, format_time, render

MAX_FILE_BYTES = 10 * 1024 * 1024
"""A log file that grows past this starts anew (KubeletConfiguration containerLogMaxSize, 10Mi)."""

_READ_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


class ContainerLog:
    """The log of one run of a container: a file, and who follows it."""

    def __init__(self, path: Path, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._now_ns = now_ns
        self._grown = asyncio.Event()
        self._ended = False
        self._lossy = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = _create(path)
        self._size = 0

    def splitter(self, stream: Stream) -> LogStream:
        """Where one output of the container goes."""
        return LogStream(LineSplitter(stream), self._append, self._now_ns)

    def close(self) -> None:
        """The run is over and its outputs have ended; followers read to the end and stop."""
        if not self._ended:
            self._ended = True
            os.close(self._fd)
            self._notify()

    def _append(self, entries: list[bytes]) -> None:
        data = b"".join(entries)
        if not data or self._ended:
            return
        try:
            if self._size + len(data) > MAX_FILE_BYTES and self._size:
                self._rotate()
            os.write(self._fd, data)
        except OSError as error:  # a full disk costs the log, not the container
            if not self._lossy:
                _log.warning("%s loses entries: %s", self.path, error)
            self._lossy = True
            return
        self._size += len(data)
        self._notify()

    def _rotate(self) -> None:
        self.path.replace(self.path.with_suffix(".log.1"))
        old, self._fd = self._fd, _create(self.path)
        os.close(old)
        self._size = 0

    def _notify(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def read(self, options: LogOptions) -> AsyncIterator[bytes]:
        """What is wanted of the log, in pieces; with follow until the run is over.

        A follower that is overtaken by a rotation reads the old file to its end first.
        """
        left = options.limit_bytes
        file = self.path.open("rb")
        try:
            if options.tail_lines is not None:
                file.seek(_tail_offset(file.fileno(), options.tail_lines))
            rest = b""
            while True:
                grown, ended = self._grown, self._ended
                data = file.read(_READ_BYTES)
                if data:
                    *lines, rest = (rest + data).split(b"\n")
                    piece = b"".join(render(entry, options) for line in lines if (entry := decode(line)))
                    if left is not None:
                        piece, left = piece[:left], left - min(left, len(piece))
                    if piece:
                        yield piece
                    if left == 0:
                        return
                    continue
                if not _same_file(file.fileno(), self.path):
                    file.close()
                    file, rest = self.path.open("rb"), b""
                    continue
                if ended or not options.follow:
                    return
                await grown.wait()
        finally:
            file.close()


class LogStream:
    """One output of a container on its way into the log."""

    def __init__(
        self, splitter: LineSplitter, append: Callable[[list[bytes]], None], now_ns: Callable[[], int]
    ) -> None:
        self._splitter = splitter
        self._append = append
        self._now_ns = now_ns

    def feed(self, data: bytes) -> None:
        self._append(list(self._splitter.feed(data, format_time(self._now_ns()))))

    def end(self) -> None:
        self._append(list(self._splitter.end(format_time(self._now_ns()))))


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _same_file(fd: int, path: Path) -> bool:
    try:
        mine, there = os.fstat(fd), path.stat()
    except FileNotFoundError:
        return True
    return (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev)


def _tail_offset(fd: int, lines: int) -> int:
    """Where the last `lines` lines of a file begin, found from its end."""
    position = size = os.fstat(fd).st_size
    if lines <= 0:
        return size
    wanted = lines + 1  # the newline that ends the line before the first wanted one
    while position > 0:
        start = max(0, position - _READ_BYTES)
        block = os.pread(fd, position - start, start)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if not wanted:
                return start + at + 1
        position = start
    return 0


class PodLogs:
    """The logs of all pods of a node, under one directory: `NAMESPACE_NAME_UID/CONTAINER/RUN.log`.

    Of each container the current and the previous run are kept (kubelet: MaxPerPodContainer 1 dead container).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._logs: dict[tuple[str, str], list[ContainerLog]] = {}

    def open(self, pod_directory: str, uid: str, container: str, run: int) -> ContainerLog:
        """The log of a run that is about to begin. Raises OSError when the disk says no."""
        log = ContainerLog(self._directory / pod_directory / container / f"{run}.log")
        kept = self._logs.setdefault((uid, container), [])
        kept.append(log)
        for old in kept[:-2]:
            for path in (old.path, old.path.with_suffix(".log.1")):
                path.unlink(missing_ok=True)
        del kept[:-2]
        return log

    def find(self, uid: str, container: str, *, previous: bool) -> ContainerLog | None:
        """The log of the current (or last) run, or of the one before it."""
        kept = self._logs.get((uid, container), [])
        index = 2 if previous else 1
        return kept[-index] if len(kept) >= index else None

    def remove(self, pod_directory: str, uid: str) -> None:
        """A pod is gone."""
        for key in [key for key in self._logs if key[0] == uid]:
            for log in self._logs.pop(key):
                log.close()
        shutil.rmtree(self._directory / pod_directory, ignore_errors=True)


def options_since(options: LogOptions, since_seconds: int | None, now_ns: int) -> LogOptions:
    """sinceSeconds counts back from now."""
    if since_seconds is None:
        return options
    return replace(options, since=format_time(now_ns - since_seconds * 1_000_000_000))
