"""What the subcommands of agnhost share: flags as Go programs read them, and how they end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence

from fairway.kubelet.programs.echo import write_line

GO_SIGNALLED = 2
"""Exit code of a Go program without a handler that is process 1 and gets SIGTERM."""

_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
"""What Go's strconv.ParseBool takes."""


class UsageError(Exception):
    """The arguments are not what the subcommand takes."""


def parse_flags(arguments: Sequence[str], known: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Flags as pflag reads them (`--a=b`, `--a b`; a switch is one whose default is "true" or "false"), and the rest.

    Raises UsageError for one that is not known or has no value.
    """
    flags: dict[str, str] = dict(known)
    rest: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--":
            return flags, rest + left
        if not argument.startswith("-") or argument == "-":
            rest.append(argument)
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        if name not in known:
            raise UsageError(f"unknown flag: --{name}")
        if known[name] in ("true", "false"):
            value = _switch(name, value if equals else "true")
        elif not equals:
            if not left:
                raise UsageError(f"flag needs an argument: --{name}")
            value = left.pop(0)
        flags[name] = value
    return flags, rest


def _switch(name: str, value: str) -> str:
    if value not in _TRUE + _FALSE:
        raise UsageError(f'invalid argument "{value}" for "--{name}" flag: neither true nor false')
    return "true" if value in _TRUE else "false"


def no_arguments(rest: Sequence[str]) -> None:
    """Raises UsageError for arguments where none is taken."""
    if rest:
        raise UsageError(f"accepts at most 0 arg(s), received {len(rest)}")


def port_of(flags: Mapping[str, str], name: str, *, least: int = 0) -> int:
    """A flag's port; least: -1 where that means none. Raises UsageError for what is none."""
    text = flags[name]
    if not text.removeprefix("-").isdecimal() or not least <= int(text) <= 65535:
        raise UsageError(f'invalid argument "{text}" for "--{name}" flag: no port')
    return int(text)


class End(threading.Event):
    """Set by `wait_for_end` once SIGTERM or SIGINT has come. descriptor: it can be read from then on.

    The kernel gives a process's signal to any of its threads, and a main thread that waits for a lock does not wake by
    what another one got: its handler would never run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.descriptor, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)


def catch_end() -> End:
    """Catch SIGTERM and SIGINT from now on, also one that has waited, blocked. Before any thread begins."""
    ends = End()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return ends


def wait_for_end(ends: End, delay_s: float, code: int) -> int:
    """Until a signal has come, and so long after it; the exit code."""
    os.read(ends.descriptor, 1)
    ends.set()
    if delay_s > 0:
        write_line(f"Sleeping {delay_s:g} seconds before terminating...")
        threading.Event().wait(delay_s)
    return code
