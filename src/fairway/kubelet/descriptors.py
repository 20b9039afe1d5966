"""Pipes and terminals in an event loop: read and write descriptors without blocking it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import select
import struct
import termios
from collections.abc import Callable, Iterator

_READ_BYTES = 64 * 1024
_LEFT_BYTES = 1024 * 1024
"""Of what still waits when a Pump is closed so much is read: the largest pipe there may be (fs.pipe-max-size)."""


def pipe() -> tuple[int, int]:
    """A pipe to pass on: both ends close on exec and are blocking; take one end over with Reader, Writer or Pump."""
    return os.pipe2(os.O_CLOEXEC)


def terminal() -> tuple[int, int]:
    """A pseudo-terminal: our end and the program's."""
    return pty.openpty()


def resize(fd: int, *, rows: int, columns: int) -> None:
    """Tell a terminal its size; the program in it gets SIGWINCH."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


@contextlib.contextmanager
def closing(*fds: int) -> Iterator[None]:
    """Close our copies of the descriptors that were passed on."""
    try:
        yield
    finally:
        for fd in set(fds):
            os.close(fd)


def _read(fd: int) -> bytes | None:
    """What there is; b"" at the end, None when nothing is there yet. A terminal ends with EIO."""
    try:
        return os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


class Pump:
    """Calls `on_data` with what comes out of a descriptor until it ends, then `on_end`. Owns the descriptor."""

    def __init__(self, fd: int, on_data: Callable[[bytes], None], on_end: Callable[[], None] | None = None) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._on_data = on_data
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self._loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        data = _read(self._fd)
        if data:
            self._on_data(data)
        elif data is not None:
            self.close()

    def close(self) -> None:
        """Stop, whether it has ended or not; what was written until now is not lost."""
        if not self.ended.is_set():
            self._loop.remove_reader(self._fd)
            left = _LEFT_BYTES
            while left > 0 and (data := _read(self._fd)):
                self._on_data(data)
                left -= len(data)
            os.close(self._fd)
            self.ended.set()
            if self._on_end is not None:
                self._on_end()


class Reader:
    """Reads a descriptor piece by piece, no faster than it is asked to. own: close it in the end."""

    def __init__(self, fd: int, *, own: bool = True) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._own = own
        self._loop = asyncio.get_running_loop()
        self._waits = False

    async def read(self) -> bytes:
        """The next piece; b"" at the end."""
        while (data := _read(self._fd)) is None:
            readable = self._loop.create_future()
            self._loop.add_reader(self._fd, _resolve, readable)
            self._waits = True
            try:
                await readable
            finally:
                self._waits = False
                self._loop.remove_reader(self._fd)
        return data

    def is_silent(self) -> bool:
        """Whether somebody waits to read, and there is nothing."""
        return self._waits and not select.select([self._fd], [], [], 0)[0]

    def close(self) -> None:
        if self._own and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class Writer:
    """Writes a descriptor, waiting while the other end does not take it. own: close it in the end."""

    def __init__(self, fd: int, *, own: bool = True) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._own = own
        self._loop = asyncio.get_running_loop()

    async def write(self, data: bytes) -> bool:
        """Write all of it; false when nobody reads any more (or it was closed)."""
        view = memoryview(data)
        while view:
            if self._fd < 0:
                return False
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._writable()
            except OSError:  # EPIPE of a pipe, EIO of a terminal
                return False
        return True

    async def _writable(self) -> None:
        writable = self._loop.create_future()
        fd = self._fd
        self._loop.add_writer(fd, _resolve, writable)
        try:
            await writable
        finally:
            self._loop.remove_writer(fd)

    def close(self) -> None:
        if self._own and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
