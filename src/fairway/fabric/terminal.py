"""A terminal for a program elsewhere, linked to the terminal of this process."""

from __future__ import annotations

import errno
import os
import select
import termios
import tty
from collections.abc import Callable

_CHUNK = 1 << 16
_LINE = 1024
"""A pty takes at most 4096 bytes until the program reads (N_TTY_BUF_SIZE, drivers/tty/n_tty.c)."""
_STDIN, _STDOUT = 0, 1


class Terminal:
    """A fresh pty whose size follows this process's terminal, which is in raw mode between `begin` and the exit.

    far: the end for the program; this end is closed by `begin`. Standard input need not be a terminal: then it is only
    passed on, and nothing is made raw.
    """

    def __init__(self) -> None:
        self._near, self.far = os.openpty()
        os.set_blocking(self._near, False)
        self._former: list[int | list[bytes | int]] | None = None
        self.resize()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._former is not None:
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._former)
        os.close(self._near)
        self._close_far()

    def begin(self) -> None:
        """The program has its end: pass every key on to it from now on."""
        self._close_far()
        if os.isatty(_STDIN):
            self._former = termios.tcgetattr(_STDIN)
            tty.setraw(_STDIN)

    def resize(self) -> None:
        """Give the pty the size of the terminal on standard output."""
        if os.isatty(_STDOUT):
            termios.tcsetwinsize(self._near, termios.tcgetwinsize(_STDOUT))

    def handlers(self) -> dict[int, Callable[[], bool]]:
        """What to call when a descriptor is readable, as long as it returns True."""
        return {_STDIN: self._pass_input, self._near: self._pass_output}

    def drain(self) -> None:
        """Pass on what the program has written and is not yet read."""
        while select.select([self._near], [], [], 0)[0] and self._pass_output():
            pass

    def _pass_input(self) -> bool:
        data = os.read(_STDIN, _CHUNK)
        if not data:
            # The end of input is a character on a terminal: what the line discipline takes for it, by default ^D.
            self._to_program(termios.tcgetattr(self._near)[6][termios.VEOF])
            return False
        self._to_program(data)
        return True

    def _to_program(self, data: bytes) -> None:
        """Write to the program, reading what it writes meanwhile: it may wait for that before it reads on."""
        while data:
            readable, writable, _ = select.select([self._near], [self._near], [])
            if readable and not self._pass_output():
                return
            if writable:
                data = data[os.write(self._near, data[:_LINE]) :]

    def _pass_output(self) -> bool:
        try:
            data = os.read(self._near, _CHUNK)
        except BlockingIOError:
            return True
        except OSError as error:
            # The kernel's way to say that no program has the other end open any more (tty_hung_up_p, EIO).
            if error.errno == errno.EIO:
                return False
            raise
        _write_all(_STDOUT, data)
        return bool(data)

    def _close_far(self) -> None:
        if self.far >= 0:
            os.close(self.far)
            self.far = -1


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
