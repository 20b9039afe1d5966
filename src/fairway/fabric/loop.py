"""The first process's event loop: descriptors, timers, signals and children, in one thread.

Not asyncio: this process is forked all the time, and what is forked should hold no loop, no threads and no futures.
"""

from __future__ import annotations

import heapq
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from itertools import count

from fairway.fabric.children import fork
from fairway.fabric.syscalls import read_signals, signal_descriptor

HANDLED = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that arrive as events; the first process of a pid namespace gets no other from its own kind."""

_CHUNK = 1 << 16


class Loop:
    """Calls back on events until told to stop.

    What a callback raises is logged: nothing a client does may end the lab.
    """

    def __init__(self, *, on_terminate: Callable[[], None]) -> None:
        """`on_terminate` is called for SIGTERM or SIGINT from outside this pid namespace."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        self._selector = selectors.EpollSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._children: dict[int, Callable[[int], None]] = {}
        self._on_terminate = on_terminate
        self._exit_code: int | None = None
        self._signals = signal_descriptor(HANDLED)
        self.watch(self._signals, self._on_signals)

    def watch(self, descriptor: int, readable: Callable[[], None], writable: Callable[[], None] | None = None) -> None:
        """Call back when the descriptor is readable, and when writable if asked; replaces what was asked before."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        data = (readable, writable)
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, events, data)
        else:
            self._selector.register(descriptor, events, data)

    def forget(self, descriptor: int) -> None:
        """Call back no more; no error if it was not watched."""
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back once, that many seconds from now."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), callback))

    def fork(
        self,
        child: Callable[[int], int],
        *,
        on_report: Callable[[bytes], None],
        on_exit: Callable[[int], None],
    ) -> int:
        """Fork a child that is given the writing end of a pipe; returns its pid.

        on_report: called with everything it wrote, once it has closed the pipe (or has become another program).
        on_exit: called after that, with its exit code, or minus the signal that ended it.
        """
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            pid = fork(lambda: child(writing))
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        report = bytearray()

        def finish() -> None:
            self.forget(reading)
            os.close(reading)
            still_open.clear()
            on_report(bytes(report))

        def read() -> None:
            data = os.read(reading, _CHUNK)
            report.extend(data)
            if not data:
                finish()

        def exited(status: int) -> None:
            while still_open:
                read()
            on_exit(status)

        still_open = {reading}
        self.watch(reading, read)
        self._children[pid] = exited
        return pid

    def stop(self, code: int) -> None:
        """Let `run` return this code."""
        self._exit_code = code

    def run(self) -> int:
        """Handle events until stopped."""
        while self._exit_code is None:
            for key, events in self._selector.select(self._timeout()):
                if events & selectors.EVENT_READ:
                    self._call(key, 0)
                if events & selectors.EVENT_WRITE:
                    self._call(key, 1)
            self._run_timers()
        return self._exit_code

    def _call(self, key: selectors.SelectorKey, which: int) -> None:
        # An earlier callback of the same round may have closed the descriptor, or put another in its place.
        registered = self._selector.get_map().get(key.fd)
        if registered is None or registered.data[0] != key.data[0]:
            return
        callback = registered.data[which]
        if callback is not None:
            guarded(callback)

    def _timeout(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            _, _, callback = heapq.heappop(self._timers)
            guarded(callback)

    def _on_signals(self) -> None:
        for number, sender in read_signals(self._signals):
            # A root shell in a host may well say `kill 1`; only the outside may end the lab.
            if number in (signal.SIGTERM, signal.SIGINT) and sender == 0:
                self._on_terminate()
        self._reap()

    def _reap(self) -> None:
        """Collect every child that has ended, also those that were left to us by their parents."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            exited = self._children.pop(pid, None)
            if exited is not None:
                code = os.waitstatus_to_exitcode(status)
                guarded(partial(exited, code))


def guarded(callback: Callable[[], None]) -> None:
    """Call, and log what it raises."""
    try:
        callback()
    except Exception:
        traceback.print_exc()


def log(message: str) -> None:
    """A line in the first process's log."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {message}", file=sys.stderr, flush=True)
